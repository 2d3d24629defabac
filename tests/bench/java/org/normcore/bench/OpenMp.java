package org.normcore.bench;

import org.bytedeco.pytorch.global.torch;

/** The single OpenMP runtime of the process, which PyTorch and oneDNN share. */
final class OpenMp {
  private OpenMp() {}

  /** Sets the number of threads of the calling thread's parallel regions. */
  static void setThreads(int threads) {
    torch.set_num_threads(threads);
  }
}
