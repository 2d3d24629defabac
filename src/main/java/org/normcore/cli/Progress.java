package org.normcore.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/** A progress bar on standard error if that is a terminal, nothing otherwise. */
public final class Progress implements AutoCloseable {
  private final Optional<ProgressBar> bar;

  private Progress(Optional<ProgressBar> bar) {
    this.bar = bar;
  }

  /** Starts a task of {@code steps} steps. */
  public static Progress start(String task, long steps) {
    if (!standardErrorIsTerminal()) {
      return new Progress(Optional.empty());
    }
    return new Progress(
        Optional.of(
            new ProgressBarBuilder()
                .setTaskName(task)
                .setInitialMax(steps)
                .setStyle(ProgressBarStyle.ASCII)
                .clearDisplayOnFinish()
                .build()));
  }

  /** Ends a step; {@code next} names the following one. */
  public void step(String next) {
    bar.ifPresent(b -> b.step().setExtraMessage(next));
  }

  @Override
  public void close() {
    bar.ifPresent(ProgressBar::close);
  }

  private static boolean standardErrorIsTerminal() {
    // Java has no such test for standard error: System.console() also requires that standard input
    // is a terminal.
    try {
      String target = Files.readSymbolicLink(Path.of("/proc/self/fd/2")).toString();
      return target.startsWith("/dev/pts/") || target.startsWith("/dev/tty");
    } catch (IOException | UnsupportedOperationException e) {
      return System.console() != null;
    }
  }
}
