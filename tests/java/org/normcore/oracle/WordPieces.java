package org.normcore.oracle;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** BERT's tokens of plain English: lower case, words and marks, the longest known pieces first. */
final class WordPieces {
  private static final Pattern WORD = Pattern.compile("[a-z0-9]+|[^a-z0-9\\s]");

  private final JsonObject vocabulary;

  /** Reads the vocabulary of a tokenizer.json. */
  WordPieces(InputStream tokenizer) throws IOException {
    try (InputStreamReader reader = new InputStreamReader(tokenizer, StandardCharsets.UTF_8)) {
      this.vocabulary =
          JsonParser.parseReader(reader)
              .getAsJsonObject()
              .getAsJsonObject("model")
              .getAsJsonObject("vocab");
    }
  }

  /** The token numbers of a sentence, between the start and end tokens. */
  List<Long> tokens(String sentence) {
    List<Long> tokens = new ArrayList<>();
    tokens.add(number("[CLS]"));
    Matcher words = WORD.matcher(sentence.toLowerCase(Locale.ROOT));
    while (words.find()) {
      addPieces(words.group(), tokens);
    }
    tokens.add(number("[SEP]"));
    return tokens;
  }

  private void addPieces(String word, List<Long> tokens) {
    for (int begin = 0, end; begin < word.length(); begin = end) {
      String prefix = begin == 0 ? "" : "##";
      end = word.length();
      while (!vocabulary.has(prefix + word.substring(begin, end))) {
        end--;
      }
      tokens.add(number(prefix + word.substring(begin, end)));
    }
  }

  private long number(String token) {
    return vocabulary.get(token).getAsLong();
  }
}
