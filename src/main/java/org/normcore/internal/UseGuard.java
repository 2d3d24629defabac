package org.normcore.internal;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.concurrent.locks.LockSupport;

/**
 * Counts the uses of a closeable object. Closing it while it is in use throws, and so does using it
 * after close.
 *
 * <p>Callers pair every acquire with one release in a finally block.
 *
 * <p>The state is one of: the number of uses; EXCLUSIVE; EXCLUSIVE_TO_CLOSE, exclusive use by a
 * closing thread; CLOSED; or, while a thread waits to close the object, CLOSING plus the number of
 * remaining uses.
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

  /** Makes the guard of an open object; messages use the given name. */
  public UseGuard(String name) {
    this.name = name;
  }

  /** Returns whether the object is open. */
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

  /** Begins a use if the object is open and not in exclusive use. Returns whether it did. */
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

  /** Begins a use. Throws IllegalStateException if the object is closed or in exclusive use. */
  public void acquire() {
    if (!tryAcquire()) {
      throw isOpen() ? inUse() : closed();
    }
  }

  /** Begins an exclusive use. Throws IllegalStateException if the object is closed or in use. */
  public void acquireExclusive() {
    int seen = (int) STATE.compareAndExchange(this, 0, EXCLUSIVE);
    if (seen != 0) {
      throw seen > 0 || isExclusive(seen) ? inUse() : closed();
    }
  }

  /**
   * Begins an exclusive use that ends with {@link #closeExclusive} or, if the object cannot be
   * closed, with {@link #release}. Returns false if the object is closed or another thread is
   * closing it. Throws IllegalStateException if it is in any other use.
   */
  public boolean acquireToClose() {
    int seen = (int) STATE.compareAndExchange(this, 0, EXCLUSIVE_TO_CLOSE);
    if (seen > 0 || seen == EXCLUSIVE) {
      throw inUse();
    }
    return seen == 0;
  }

  /** Ends a use or an exclusive use. */
  public void release() {
    if (isExclusive(state)) {
      // Release order suffices: the next use sees the writes of this one. No full fence.
      STATE.setRelease(this, 0);
    } else {
      STATE.getAndAdd(this, -1);
    }
  }

  /**
   * Closes the object. Returns false if it was closed already. Throws IllegalStateException if it
   * is in use.
   */
  public boolean close() {
    int seen = (int) STATE.compareAndExchange(this, 0, CLOSED);
    if (seen > 0 || isExclusive(seen)) {
      throw inUse();
    }
    return seen == 0;
  }

  /**
   * Refuses further uses, waits for the current ones to end, and closes the object. Returns false
   * at once if another thread is closing it or has closed it. A thread that holds a use must not
   * call this: it would wait for itself.
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

  /** Closes the object; the caller holds the exclusive use, which this ends. */
  public void closeExclusive() {
    state = CLOSED;
  }

  private static boolean isExclusive(int state) {
    return state == EXCLUSIVE || state == EXCLUSIVE_TO_CLOSE;
  }

  /** Most uses are short, so this yields first; it parks to free the core during a long one. */
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
