package org.normcore.internal.capi;

import org.bytedeco.javacpp.FunctionPointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.annotation.Allocator;
import org.bytedeco.javacpp.annotation.Properties;
import org.bytedeco.javacpp.annotation.ValueGetter;

/**
 * A C function {@code void (*)(void*)} whose body is Java: a subclass overrides {@link #call},
 * which must throw nothing. C may call it in any thread. C does not keep the object reachable.
 */
@Properties(inherit = org.normcore.presets.normcore.class)
@Allocator(max = 1)
public class DLPackDeleter extends FunctionPointer {
  static {
    Loader.load();
  }

  protected DLPackDeleter() {
    allocate();
  }

  private native void allocate();

  /** The body of the function; the argument is an address. */
  public native void call(long tensor);

  /** Returns the C function pointer. */
  @ValueGetter
  public native Pointer get();
}
