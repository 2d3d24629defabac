package org.normcore.cli;

import com.google.gson.JsonElement;
import java.io.PrintWriter;
import org.normcore.Device;
import picocli.CommandLine.Model.CommandSpec;

/**
 * What a running command needs of its surroundings: where to print, and the options of every
 * command.
 */
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
   * The context of a command, with its device checked.
   *
   * @throws UnsupportedOperationException if the device asked for is not to be had; the message
   *     says why
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

  /** Where results go. */
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
