package org.normcore.frameworks;

import java.util.function.BooleanSupplier;
import org.bytedeco.javacpp.Pointer;

/**
 * The memory of a framework's tensor: a pointer that counts as deallocated once the framework has
 * freed the memory, so that operations on a {@link org.normcore.TensorView} of it throw. The {@code
 * freed} supplier references the tensor and keeps it reachable.
 */
final class TensorMemory extends Pointer {
  private final BooleanSupplier freed;

  TensorMemory(long address, BooleanSupplier freed) {
    this.address = address;
    this.freed = freed;
  }

  @Override
  public boolean isNull() {
    return super.isNull() || freed.getAsBoolean();
  }
}
