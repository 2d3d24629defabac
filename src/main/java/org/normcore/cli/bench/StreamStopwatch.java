package org.normcore.cli.bench;

import java.util.Arrays;
import java.util.function.IntConsumer;
import org.normcore.CudaStream;

/**
 * Times calls that enqueue work in a stream: the host's clock around many calls and one wait for
 * the stream. Returns the median of several such measurements.
 */
final class StreamStopwatch {
  /** Long relative to the wait, which takes about 10 us. */
  private static final long SAMPLE_NANOS = 5_000_000;

  private static final int MOST_CALLS = 1 << 16;
  private static final int FEWEST_SAMPLES = 5;
  private static final int MOST_SAMPLES = 10_000;

  private final CudaStream stream;
  private final long nanos;
  private final long sampleNanos;

  /** Measures each call for about the given time. */
  StreamStopwatch(CudaStream stream, double seconds) {
    this.stream = stream;
    this.nanos = (long) (seconds * 1e9);
    this.sampleNanos = Math.min(SAMPLE_NANOS, nanos / FEWEST_SAMPLES);
  }

  /** The median time of one call, in nanoseconds. The call gets the number of previous calls. */
  double median(IntConsumer call) {
    int calls = 1;
    sample(call, calls);
    while (sample(call, calls) < sampleNanos && calls < MOST_CALLS) {
      calls *= 2;
    }
    double[] times = new double[MOST_SAMPLES];
    int count = 0;
    long end = System.nanoTime() + nanos;
    while (count < FEWEST_SAMPLES || (System.nanoTime() < end && count < MOST_SAMPLES)) {
      times[count++] = (double) sample(call, calls) / calls;
    }
    Arrays.sort(times, 0, count);
    return (times[(count - 1) / 2] + times[count / 2]) / 2;
  }

  private long sample(IntConsumer call, int calls) {
    long begin = System.nanoTime();
    for (int i = 0; i < calls; i++) {
      call.accept(i);
    }
    stream.synchronize();
    return System.nanoTime() - begin;
  }
}
