package org.normcore.cli.safetensors;

/** Makes untrusted text safe for a message: short and without control characters. */
public final class Quoted {
  private static final int LONGEST = 80;

  private Quoted() {}

  /** Returns at most 80 characters, without terminal control characters. */
  public static String shorten(String text) {
    String head = text.length() > LONGEST ? text.substring(0, LONGEST) + "..." : text;
    StringBuilder clean = new StringBuilder(head.length());
    head.codePoints().forEach(c -> clean.appendCodePoint(Character.isISOControl(c) ? '?' : c));
    return clean.toString();
  }
}
