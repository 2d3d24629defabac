package org.normcore;

import org.normcore.internal.Capi;
import org.normcore.internal.CudaCapi;

/**
 * The host memory of an initial value: page-locked if its parameter is on a CUDA device, so that
 * copies to the device are asynchronous. Not visible to users; only the parameter closes it.
 */
final class InitialValueMemory extends OwnedMemory {
  private InitialValueMemory(long address, long bytes, Runnable free) {
    super("initial value of an Fp8Parameter", Device.CPU, address, bytes, free);
    makeReadOnly("the initial value of an Fp8Parameter");
  }

  static InitialValueMemory allocate(long bytes, boolean pageLocked) {
    if (pageLocked) {
      long address = CudaCapi.allocateHost(Math.max(1, bytes));
      return new InitialValueMemory(address, bytes, new FreePageLocked(address));
    }
    long address = Capi.allocate(Math.max(1, bytes));
    return new InitialValueMemory(address, bytes, new Free(address));
  }

  private record Free(long address) implements Runnable {
    @Override
    public void run() {
      Capi.free(address);
    }
  }

  private record FreePageLocked(long address) implements Runnable {
    @Override
    public void run() {
      CudaCapi.freeHost(address);
    }
  }
}
