package org.normcore.bench;

import java.util.List;
import java.util.stream.Stream;

/** The measured libraries. */
final class Libraries {
  private static final Library OURS = new Ours();
  private static final Library WITH_PAGE_FAULTS = new Torch(false);

  /** Created on first use, because they load large natives. */
  private static final class Peers {
    private static final List<Library> ALL =
        List.of(new Torch(true), WITH_PAGE_FAULTS, new OneDnn(), new OnnxRuntime());
  }

  private Libraries() {}

  static Library ours() {
    return OURS;
  }

  static List<Library> peers() {
    return Peers.ALL;
  }

  static List<Library> copies() {
    return List.of(CopyLibrary.MEMCPY, CopyLibrary.STREAMING);
  }

  /** One of ours and the peers. Loads no other natives if it is ours. */
  static Library named(String name) {
    return name.equals(OURS.name())
        ? OURS
        : peers().stream().filter(peer -> peer.name().equals(name)).findFirst().orElseThrow();
  }

  /** Whether to measure its latency, which page faults do not affect. */
  static boolean isMeasuredAlone(String name) {
    return !name.equals(WITH_PAGE_FAULTS.name())
        && Stream.concat(Stream.of(OURS), peers().stream())
            .anyMatch(library -> library.name().equals(name));
  }
}
