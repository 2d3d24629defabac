package org.normcore.internal;

import java.util.function.LongConsumer;
import org.bytedeco.javacpp.Pointer;
import org.normcore.internal.capi.DLPackCalls;
import org.normcore.internal.capi.DLPackDeleter;

/** Deleters of DLPack tensors: makes a C function of ours and calls those of other libraries. */
public final class DLPackCapi {
  private DLPackCapi() {}

  /**
   * Returns the address of a C function {@code void (*)(void*)} that runs the given body in the
   * calling thread. A process has one such function, which is never freed.
   */
  public static long makeDeleter(LongConsumer body) {
    NativeLibrary.ensureLoaded();
    Deleter.body = body;
    try (Pointer function = Deleter.INSTANCE.get()) {
      return function.address();
    }
  }

  /** Calls the deleter at an address. */
  public static void call(long deleter, long tensor) {
    NativeLibrary.ensureLoaded();
    DLPackCalls.NC_CALL(deleter, tensor);
  }

  private static final class Deleter extends DLPackDeleter {
    /** C code holds its address, so it must never be collected. */
    static final Deleter INSTANCE = new Deleter();

    static volatile LongConsumer body = tensor -> {};

    @Override
    public void call(long tensor) {
      body.accept(tensor);
    }
  }
}
