package org.normcore.cli;

import com.google.gson.JsonElement;
import java.io.PrintWriter;
import org.normcore.Device;
import picocli.CommandLine.Model.CommandSpec;

/** The context of a running command: its output and the options that all commands share. */
public final class Context {
  private final PrintWriter out;
  private final NormcoreCommand root;
  private final Device device;

  private Context(PrintWriter out, NormcoreCommand root) {
    this.out = out;
    this.root = root;
    this.device = DeviceNames.parse(root.device());
  }

  /**
   * Makes the context of a command and checks its device.
   *
   * @throws UnsupportedOperationException if the requested device is unavailable; the message gives
   *     the reason
   */
  public static Context of(CommandSpec spec) {
    Context context =
        new Context(spec.commandLine().getOut(), (NormcoreCommand) spec.root().userObject());
    int threads = context.root.threads();
    if (threads < 1 || threads > NormcoreCommand.MOST_THREADS) {
      throw new BadInput(
          "--threads is " + threads + ", expected 1 to " + NormcoreCommand.MOST_THREADS);
    }
    return context;
  }

  /** The output of results. */
  public PrintWriter out() {
    return out;
  }

  /** Whether the result is to be one JSON document. */
  public boolean json() {
    return root.json();
  }

  /** The number of threads to use. */
  public int threads() {
    return root.threads();
  }

  /** The device to work on. */
  public Device device() {
    return device;
  }

  /** Prints the one JSON document. */
  public void print(JsonElement document) {
    out.println(Json.toText(document));
  }
}
