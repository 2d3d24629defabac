package org.normcore.bench;

/**
 * How long everything is measured.
 *
 * @param rounds how often all contenders of a field take their turns
 * @param millis how long a turn is
 * @param warmUpMillis what comes before it
 */
record Effort(int rounds, int millis, int warmUpMillis) {
  static final Effort FULL = new Effort(3, 80, 20);
  static final Effort QUICK = new Effort(2, 40, 10);
  static final Effort TINY = new Effort(1, 4, 1);
}
