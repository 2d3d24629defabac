package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import java.util.Objects;
import java.util.concurrent.Executor;
import java.util.concurrent.ForkJoinPool;

/**
 * Where and how an operation runs: what the builders of norms and of {@link Rotary} have in common.
 * Not thread-safe.
 *
 * <p>None of these settings changes a bit of a result.
 *
 * @param <B> the builder's own type
 */
public abstract sealed class OpBuilder<B extends OpBuilder<B>>
    permits Norm.Builder, Rotary.Builder {
  private static final int MAX_THREADS = 1024;

  VectorLevel vectorLevel = VectorLevel.BEST;
  Device device = Device.CPU;
  int threads = Math.min(ForkJoinPool.getCommonPoolParallelism() + 1, MAX_THREADS);
  Executor executor = ForkJoinPool.commonPool();

  OpBuilder() {}

  abstract B self();

  /**
   * Sets the device of the operation and its tensors. The CPU if not set. The results are
   * bit-identical on all devices. On a CUDA device {@code threads}, {@code executor} and {@code
   * vectorLevel} are ignored.
   *
   * @see Cuda
   */
  public B device(Device device) {
    this.device = Objects.requireNonNull(device, "device: null; expected a Device");
    return self();
  }

  /**
   * Sets the maximum number of threads of one call, including the calling thread. If not set, the
   * parallelism of the common pool plus 1, but at most 1024. With 1 everything runs in the calling
   * thread. A call uses one thread per MB that it reads and writes, because waking a thread costs
   * as much time as it saves on 1 MB. The results are bit-identical for any number.
   *
   * @throws IllegalArgumentException if it is not within 1 to 1024
   */
  public B threads(int threads) {
    checkArgument(
        threads >= 1 && threads <= MAX_THREADS,
        "threads: %s; expected 1 to %s",
        threads,
        MAX_THREADS);
    this.threads = threads;
    return self();
  }

  /**
   * Sets the executor for the tasks of large calls. The common pool if not set. The calling thread
   * always participates, so a call makes progress even if the executor is busy, shut down or runs
   * nothing. Submitting to a {@link ForkJoinPool} does not allocate; other executors may allocate
   * per task.
   */
  public B executor(Executor executor) {
    this.executor = Objects.requireNonNull(executor, "executor: null; expected an Executor");
    return self();
  }

  /**
   * Sets the vector level of the kernels. {@link VectorLevel#BEST} if not set. All levels give the
   * same bits.
   */
  public B vectorLevel(VectorLevel vectorLevel) {
    this.vectorLevel =
        Objects.requireNonNull(vectorLevel, "vectorLevel: null; expected a VectorLevel");
    return self();
  }
}
