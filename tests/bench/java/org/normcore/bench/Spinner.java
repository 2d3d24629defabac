package org.normcore.bench;

/** A thread that runs a task on each request and spins in between. */
final class Spinner {
  private final Runnable task;
  private final Thread thread;
  private volatile boolean stopped;
  private volatile long asked;
  private volatile long done;

  Spinner(Runnable task) {
    this.task = task;
    this.thread = new Thread(this::loop, "copy");
    thread.setDaemon(true);
    thread.start();
  }

  /** Only one thread may call this. */
  void start() {
    long turn = done + 1;
    asked = turn;
  }

  void await() {
    while (done != asked) {
      Thread.onSpinWait();
    }
  }

  void stop() {
    stopped = true;
    try {
      thread.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void loop() {
    while (!stopped) {
      long turn = asked;
      if (turn != done) {
        task.run();
        done = turn;
      } else {
        Thread.onSpinWait();
      }
    }
  }
}
