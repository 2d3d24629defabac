package org.normcore.internal;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.concurrent.locks.LockSupport;

/**
 * Counts the uses of a closeable object, so that closing it while in use, and using it once closed,
 * are refused.
 *
 * <p>Every acquire is followed by one release, in a finally block.
 *
 * <p>The state is the number of uses, or EXCLUSIVE, or EXCLUSIVE_TO_CLOSE, which is the same by
 * somebody who means to close the object, or CLOSED, or, while somebody waits to close the object,
 * CLOSING plus the number of uses that are left.
 */
public final class UseGuard {
  private static final int CLOSED = -1;
  private static final int EXCLUSIVE = -2;
  private static final int EXCLUSIVE_TO_CLOSE = -3;
  private static final int CLOSING = Integer.MIN_VALUE;
  private static final int YIELDS = 100;
  private static final long PARKED_NANOS = 50_000;
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
    return seen >= 0 || isExclusive(seen);
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
      throw seen > 0 || isExclusive(seen) ? inUse() : closed();
    }
  }

  /**
   * Begins the only use, to close the object by {@link #closeExclusive} or, if that turns out not
   * to be possible, to {@link #release} it. Returns false if it is closed or somebody else is at
   * this. Throws IllegalStateException if it is in any other use.
   */
  public boolean acquireToClose() {
    int seen = (int) STATE.compareAndExchange(this, 0, EXCLUSIVE_TO_CLOSE);
    if (seen > 0 || seen == EXCLUSIVE) {
      throw inUse();
    }
    return seen == 0;
  }

  /** Ends a use, or the only use. */
  public void release() {
    if (isExclusive(state)) {
      // Whoever has the next use sees what was done in this one. Nothing more is asked for, so no
      // full fence.
      STATE.setRelease(this, 0);
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
    if (seen > 0 || isExclusive(seen)) {
      throw inUse();
    }
    return seen == 0;
  }

  /**
   * Refuses every further use, waits until there is none, and closes the object. Returns false at
   * once if somebody else closes it or has done so. Not for a thread that has a use of its own.
   */
  public boolean closeWhenUnused() {
    int turns = 0;
    int uses = state;
    while (uses >= 0 || isExclusive(uses)) {
      if (uses < 0) {
        pause(turns++);
        uses = state;
        continue;
      }
      int seen = (int) STATE.compareAndExchange(this, uses, CLOSING + uses);
      if (seen == uses) {
        while (state != CLOSING) {
          pause(turns++);
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

  private static boolean isExclusive(int state) {
    return state == EXCLUSIVE || state == EXCLUSIVE_TO_CLOSE;
  }

  /** Most uses are short; for one that is not, the core is left to others. */
  private static void pause(int turns) {
    if (turns < YIELDS) {
      Thread.yield();
    } else {
      LockSupport.parkNanos(PARKED_NANOS);
    }
  }

  private IllegalStateException closed() {
    return new IllegalStateException(name + " is closed");
  }

  private IllegalStateException inUse() {
    return new IllegalStateException(name + " is in use");
  }
}
