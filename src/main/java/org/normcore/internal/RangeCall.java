package org.normcore.internal;

/**
 * A native call on a range of rows, row groups or columns. Its arguments are fields, so the object
 * is reusable.
 */
abstract class RangeCall {
  /** Makes the call for units {@code begin} to {@code end - 1} and returns its status. */
  abstract int call(long begin, long end);
}
