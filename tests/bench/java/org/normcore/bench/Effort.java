package org.normcore.bench;

/**
 * The duration of the measurements.
 *
 * @param rounds the number of rounds of all contenders of a session
 * @param millis the duration of a contender's turn
 * @param warmUpMillis the duration of the warm-up before it
 */
record Effort(int rounds, int millis, int warmUpMillis) {
  static final Effort FULL = new Effort(3, 80, 20);
  static final Effort QUICK = new Effort(2, 40, 10);
  static final Effort TINY = new Effort(1, 4, 1);
}
