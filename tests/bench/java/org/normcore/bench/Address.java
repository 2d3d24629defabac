package org.normcore.bench;

import org.bytedeco.javacpp.Pointer;
import org.normcore.TensorView;

/** A pointer to memory that it does not own. */
final class Address extends Pointer {
  private Address(long address) {
    this.address = address;
  }

  static Pointer of(long address) {
    return new Address(address);
  }

  static Pointer of(TensorView view) {
    return new Address(view.address());
  }
}
