package org.normcore.cli.bench;

import com.google.gson.JsonObject;

/**
 * What calls on all rows did on the CPU, beside copies in the same rounds.
 *
 * @param threads how many threads they had
 * @param bytes what a call has to read and write at least
 * @param copyBytes what a copy reads and writes
 * @param call the times of a call
 * @param copy those of {@code memcpy}
 * @param streaming those of the copy past the caches
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

  /** Adds what does not depend on there being a CPU. */
  void addBasics(JsonObject json) {
    json.addProperty("median_seconds", call.median() / 1e9);
    json.addProperty("bytes_per_second", bytesPerSecond());
    json.addProperty("copy_bytes_per_second", copyBytesPerSecond());
    json.addProperty("share_of_copy", shareOfCopy());
  }

  /** Adds the rest: threads, the streaming copy, and quartiles, those of shares round by round. */
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
