package org.normcore.bench;

import org.bytedeco.pytorch.global.torch;

/** The OpenMP runtime, of which there is one in the process: PyTorch's and oneDNN's. */
final class OpenMp {
  private OpenMp() {}

  /** Sets how many threads the parallel regions of the calling thread have. */
  static void setThreads(int threads) {
    torch.set_num_threads(threads);
  }
}
