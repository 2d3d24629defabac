package org.normcore.cli.bench;

import com.google.gson.JsonObject;

/**
 * The times of calls on all rows on the CPU and of copies in the same rounds.
 *
 * @param threads the number of threads
 * @param bytes the minimum bytes that a call reads and writes
 * @param copyBytes the bytes that a copy reads and writes
 * @param call the times of a call
 * @param copy the times of {@code memcpy}
 * @param streaming the times of the copy with non-temporal stores
 */
record Throughput(
    int threads, long bytes, long copyBytes, Samples call, Samples copy, Samples streaming) {

  double bytesPerSecond() {
    return bytes / call.median() * 1e9;
  }

  double copyBytesPerSecond() {
    return copyBytes / copy.median() * 1e9;
  }

  double streamingBytesPerSecond() {
    return copyBytes / streaming.median() * 1e9;
  }

  double shareOfCopy() {
    return bytesPerSecond() / copyBytesPerSecond();
  }

  double shareOfStreaming() {
    return bytesPerSecond() / streamingBytesPerSecond();
  }

  /** Adds the figures that exist on every device. */
  void addBasics(JsonObject json) {
    json.addProperty("median_seconds", call.median() / 1e9);
    json.addProperty("bytes_per_second", bytesPerSecond());
    json.addProperty("copy_bytes_per_second", copyBytesPerSecond());
    json.addProperty("share_of_copy", shareOfCopy());
  }

  /** Adds the rest: threads, the streaming copy, and quartiles, those of ratios round by round. */
  void addDetails(JsonObject json) {
    double perCopy = (double) bytes / copyBytes;
    json.addProperty("threads", threads);
    json.add("quartile_seconds", call.quartiles(1e-9));
    json.add("share_of_copy_quartiles", copy.over(call).quartiles(perCopy));
    json.addProperty("streaming_copy_bytes_per_second", streamingBytesPerSecond());
    json.addProperty("share_of_streaming_copy", shareOfStreaming());
    json.add("share_of_streaming_copy_quartiles", streaming.over(call).quartiles(perCopy));
  }
}
