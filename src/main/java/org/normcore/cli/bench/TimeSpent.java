package org.normcore.cli.bench;

import com.google.gson.JsonObject;

/**
 * The parts of the time of a call on all rows, in nanoseconds, estimated from other measurements.
 *
 * @param call the time of a call on a single element
 * @param dispatch the time to wake the other threads
 * @param compute the time for the same rows in the cache: the time of a call on a few cached rows,
 *     scaled by the number of rows and divided by the threads
 * @param memory the rest: waiting for memory
 */
record TimeSpent(double call, double dispatch, double compute, double memory) {

  /** Splits the time {@code total} of a call; parts beyond it are cut off. */
  static TimeSpent of(double total, double call, double dispatch, double compute) {
    double calling = Math.min(call, total);
    double dispatching = Math.min(dispatch, total - calling);
    double computing = Math.max(0, Math.min(compute, total - calling - dispatching));
    return new TimeSpent(
        calling, dispatching, computing, total - calling - dispatching - computing);
  }

  double total() {
    return call + dispatch + compute + memory;
  }

  JsonObject json() {
    JsonObject json = new JsonObject();
    json.addProperty("call_seconds", call / 1e9);
    json.addProperty("dispatch_seconds", dispatch / 1e9);
    json.addProperty("compute_seconds", compute / 1e9);
    json.addProperty("memory_seconds", memory / 1e9);
    return json;
  }
}
