package org.normcore.docs;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/**
 * Links, images, anchors and file names in README.md, the guides and the notes for contributors
 * resolve. A guide links only to guides, so that its links work in the repository and in the site.
 */
class GuidesTest {
  private static final Path GUIDES = Path.of("src/site/markdown");
  private static final Pattern LINK = Pattern.compile("\\]\\(([^)\\s]+)\\)|<img src=\"([^\"]+)\"");
  private static final Pattern ANCHOR = Pattern.compile("<a id=\"([^\"]+)\">");
  private static final Pattern FENCED =
      Pattern.compile("^```.*?^```$", Pattern.MULTILINE | Pattern.DOTALL);
  private static final Pattern SOURCE =
      Pattern.compile("`((?:cmake|native|src|tests|\\.ci|\\.github)/[\\w./-]*)`");
  private static final Pattern VERSION =
      Pattern.compile(
          "org\\.normcore:[\\w-]+:([\\w.-]+\\w)"
              + "|\"org\\.normcore\" % \"[\\w-]+\" % \"([^\"]+)\""
              + "|<groupId>org\\.normcore</groupId>\\s*<artifactId>[\\w-]+</artifactId>"
              + "\\s*<version>([^<]+)</version>");

  private static List<Path> pages() throws IOException {
    List<Path> pages = new ArrayList<>(Snippet.pages());
    pages.add(Path.of(".github/CONTRIBUTING.md"));
    return pages;
  }

  private static String first(MatchResult match) {
    for (int group = 1; group <= match.groupCount(); group++) {
      if (match.group(group) != null) {
        return match.group(group);
      }
    }
    throw new IllegalArgumentException(match.group());
  }

  private static List<URI> links(String text) {
    String prose = FENCED.matcher(text).replaceAll("");
    return LINK.matcher(prose).results().map(GuidesTest::first).map(URI::create).toList();
  }

  /** Returns the file that a link of a page leads to. */
  private static Path target(Path page, URI link) {
    return link.getPath().isEmpty() ? page : page.resolveSibling(link.getPath()).normalize();
  }

  @Test
  void linksResolve() throws IOException {
    List<String> broken = new ArrayList<>();
    int count = 0;
    for (Path page : pages()) {
      for (URI link : links(Files.readString(page))) {
        if (link.isAbsolute()) {
          continue;
        }
        count++;
        Path target = target(page, link);
        boolean resolves = Files.isRegularFile(target);
        if (resolves && link.getFragment() != null) {
          resolves =
              ANCHOR
                  .matcher(Files.readString(target))
                  .results()
                  .anyMatch(anchor -> anchor.group(1).equals(link.getFragment()));
        }
        boolean leavesTheSite = page.startsWith(GUIDES) && !target.startsWith(GUIDES);
        if (!resolves || leavesTheSite) {
          broken.add(page + ": " + link);
        }
      }
    }
    assertEquals(List.of(), broken);
    assertTrue(count > 50, "links: " + count);
  }

  @Test
  void everyGuideIsReachedFromTheIndex() throws IOException {
    Set<Path> reached = new HashSet<>();
    List<Path> open = new ArrayList<>(List.of(GUIDES.resolve("index.md")));
    while (!open.isEmpty()) {
      Path page = open.remove(open.size() - 1);
      if (reached.add(page)) {
        for (URI link : links(Files.readString(page))) {
          if (!link.isAbsolute() && link.getPath().endsWith(".md")) {
            open.add(target(page, link));
          }
        }
      }
    }
    Set<Path> guides = new HashSet<>(Snippet.pages());
    guides.remove(Path.of("README.md"));
    assertEquals(new TreeSet<>(guides), new TreeSet<>(reached));
  }

  @Test
  void siteMenuListsEveryGuide() throws IOException {
    String menu = Files.readString(Path.of("src/site/site.xml"));
    Set<String> pages = new TreeSet<>();
    Pattern.compile("<item [^>]*href=\"([^\"]+)\"")
        .matcher(menu)
        .results()
        .forEach(item -> pages.add(item.group(1)));
    assertTrue(pages.remove("apidocs/index.html"), pages.toString());
    Set<String> expected = new TreeSet<>();
    for (Path page : Snippet.pages()) {
      if (page.startsWith(GUIDES)) {
        expected.add(GUIDES.relativize(page).toString().replace(".md", ".html"));
      }
    }
    assertEquals(expected, pages);
  }

  @Test
  void namedFilesExist() throws IOException {
    List<String> absent = new ArrayList<>();
    for (Path page : pages()) {
      SOURCE
          .matcher(FENCED.matcher(Files.readString(page)).replaceAll(""))
          .results()
          .filter(name -> !Files.exists(Path.of(name.group(1))))
          .forEach(name -> absent.add(page + ": " + name.group(1)));
    }
    assertEquals(List.of(), absent);
  }

  @Test
  void dependenciesNameThisVersion() throws IOException {
    String pom = Files.readString(Path.of("pom.xml"));
    String version =
        Pattern.compile("<artifactId>normcore</artifactId>\\s*<version>([^<]+)</version>")
            .matcher(pom)
            .results()
            .findFirst()
            .orElseThrow()
            .group(1);
    List<String> named = new ArrayList<>();
    for (Path page : pages()) {
      VERSION.matcher(Files.readString(page)).results().map(GuidesTest::first).forEach(named::add);
    }
    assertTrue(named.size() >= 6, named.toString());
    assertEquals(Set.of(version), Set.copyOf(named));
  }
}
