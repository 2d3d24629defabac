package org.normcore.cli.bench;

import com.google.gson.JsonObject;

/**
 * Where the time of a call on all rows goes, in nanoseconds, as far as that can be seen from
 * outside.
 *
 * @param call what a call on a single element takes, all of it
 * @param dispatch what it takes to wake the other threads
 * @param compute what the rows would take if they were in the cache: the time of a call on a few
 *     rows that fit it, in proportion, divided by the threads
 * @param memory what is left: waiting for memory
 */
record TimeSpent(double call, double dispatch, double compute, double memory) {

  /** Of a call that takes {@code total}. What exceeds that is cut off. */
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
