package org.normcore.cli;

/**
 * What the user gave is wrong. The message is one sentence that says what, and what was expected.
 */
public final class BadInput extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Bad input, with the sentence for standard error. */
  public BadInput(String sentence) {
    super(sentence);
  }
}
