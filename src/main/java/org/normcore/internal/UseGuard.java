package org.normcore.internal;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * Counts the uses of a closeable object, so that closing it while in use, and using it once closed,
 * are refused.
 *
 * <p>Every acquire is followed by one release, in a finally block.
 */
public final class UseGuard {
  private static final int CLOSED = -1;
  private static final VarHandle STATE;

  static {
    try {
      STATE = MethodHandles.lookup().findVarHandle(UseGuard.class, "state", int.class);
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private final String name;

  /** The number of uses, or CLOSED. */
  private volatile int state;

  /** Makes the guard of an open object that messages call by the given name. */
  public UseGuard(String name) {
    this.name = name;
  }

  /** Returns whether the object has not been closed. */
  public boolean isOpen() {
    return state != CLOSED;
  }

  /** Throws IllegalStateException if the object is closed. */
  public void checkOpen() {
    if (state == CLOSED) {
      throw closed();
    }
  }

  /** Begins a use, if the object is open. */
  public boolean tryAcquire() {
    int uses = state;
    while (uses != CLOSED) {
      int seen = (int) STATE.compareAndExchange(this, uses, uses + 1);
      if (seen == uses) {
        return true;
      }
      uses = seen;
    }
    return false;
  }

  /** Begins a use. Throws IllegalStateException if the object is closed. */
  public void acquire() {
    if (!tryAcquire()) {
      throw closed();
    }
  }

  /** Begins the only use. Throws IllegalStateException if the object is closed or in use. */
  public void acquireExclusive() {
    int seen = (int) STATE.compareAndExchange(this, 0, 1);
    if (seen != 0) {
      throw seen == CLOSED ? closed() : inUse();
    }
  }

  /** Ends a use. */
  public void release() {
    STATE.getAndAdd(this, -1);
  }

  /**
   * Closes the object. Returns false if that has been done before. Throws IllegalStateException if
   * it is in use.
   */
  public boolean close() {
    int seen = (int) STATE.compareAndExchange(this, 0, CLOSED);
    if (seen > 0) {
      throw inUse();
    }
    return seen == 0;
  }

  /** Closes the object by whoever has the only use of it, which ends with that. */
  public void closeExclusive() {
    state = CLOSED;
  }

  private IllegalStateException closed() {
    return new IllegalStateException(name + " is closed");
  }

  private IllegalStateException inUse() {
    return new IllegalStateException(name + " is in use");
  }
}
