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

  /** Starts a task of so many steps. */
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

  /** One step is done; {@code next} says what comes now. */
  public void step(String next) {
    bar.ifPresent(b -> b.step().setExtraMessage(next));
  }

  @Override
  public void close() {
    bar.ifPresent(ProgressBar::close);
  }

  private static boolean standardErrorIsTerminal() {
    // Java can't ask this of standard error alone: System.console() wants standard input to be a
    // terminal as well.
    try {
      String target = Files.readSymbolicLink(Path.of("/proc/self/fd/2")).toString();
      return target.startsWith("/dev/pts/") || target.startsWith("/dev/tty");
    } catch (IOException | UnsupportedOperationException e) {
      return System.console() != null;
    }
  }
}
