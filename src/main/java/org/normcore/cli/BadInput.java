package org.normcore.cli;

/** The user's input is invalid. The message is one sentence with the value and the expectation. */
public final class BadInput extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Makes the exception with the sentence for standard error. */
  public BadInput(String sentence) {
    super(sentence);
  }
}
