package org.normcore.internal;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * Counts the uses of a closeable object, so that closing it while in use, and using it once closed,
 * are refused.
 *
 * <p>Every acquire is followed by one release, in a finally block.
 *
 * <p>The state is the number of uses, or EXCLUSIVE, or CLOSED, or, while somebody waits to close
 * the object, CLOSING plus the number of uses that are left.
 */
public final class UseGuard {
  private static final int CLOSED = -1;
  private static final int EXCLUSIVE = -2;
  private static final int CLOSING = Integer.MIN_VALUE;
  private static final VarHandle STATE;

  static {
    try {
      STATE = MethodHandles.lookup().findVarHandle(UseGuard.class, "state", int.class);
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private final String name;

  private volatile int state;

  /** Makes the guard of an open object that messages call by the given name. */
  public UseGuard(String name) {
    this.name = name;
  }

  /** Returns whether the object has not been closed. */
  public boolean isOpen() {
    int seen = state;
    return seen >= 0 || seen == EXCLUSIVE;
  }

  /** Throws IllegalStateException if the object is closed. */
  public void checkOpen() {
    if (!isOpen()) {
      throw closed();
    }
  }

  /** Begins a use, if the object is open and nobody has the only use of it. */
  public boolean tryAcquire() {
    int uses = state;
    while (uses >= 0) {
      int seen = (int) STATE.compareAndExchange(this, uses, uses + 1);
      if (seen == uses) {
        return true;
      }
      uses = seen;
    }
    return false;
  }

  /**
   * Begins a use. Throws IllegalStateException if the object is closed or somebody has the only use
   * of it.
   */
  public void acquire() {
    if (!tryAcquire()) {
      throw isOpen() ? inUse() : closed();
    }
  }

  /**
   * Begins the only use: there is no other until it ends. Throws IllegalStateException if the
   * object is closed or in use.
   */
  public void acquireExclusive() {
    int seen = (int) STATE.compareAndExchange(this, 0, EXCLUSIVE);
    if (seen != 0) {
      throw seen > 0 || seen == EXCLUSIVE ? inUse() : closed();
    }
  }

  /** Ends a use, or the only use. */
  public void release() {
    if (state == EXCLUSIVE) {
      state = 0;
    } else {
      STATE.getAndAdd(this, -1);
    }
  }

  /**
   * Closes the object. Returns false if that has been done before. Throws IllegalStateException if
   * it is in use.
   */
  public boolean close() {
    int seen = (int) STATE.compareAndExchange(this, 0, CLOSED);
    if (seen > 0 || seen == EXCLUSIVE) {
      throw inUse();
    }
    return seen == 0;
  }

  /**
   * Refuses every further use, waits until there is none, and closes the object. Returns false at
   * once if somebody else closes it or has done so. Not for a thread that has a use of its own.
   */
  public boolean closeWhenUnused() {
    int uses = state;
    while (uses >= 0 || uses == EXCLUSIVE) {
      if (uses == EXCLUSIVE) {
        Thread.yield();
        uses = state;
        continue;
      }
      int seen = (int) STATE.compareAndExchange(this, uses, CLOSING + uses);
      if (seen == uses) {
        while (state != CLOSING) {
          Thread.yield();
        }
        state = CLOSED;
        return true;
      }
      uses = seen;
    }
    return false;
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
