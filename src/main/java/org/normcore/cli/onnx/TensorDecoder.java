package org.normcore.cli.onnx;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.normcore.cli.BadInput;
import org.normcore.cli.safetensors.TensorEntry;

/**
 * Decodes data that a tensor's message holds element by element. Which field it is in depends on
 * the type; floats of 8 and 16 bits lie as their bits in int32_data.
 */
final class TensorDecoder {
  private final Fields fields;
  private final TensorEntry entry;
  private final ByteBuffer target;
  private final int field;

  /**
   * A decoder.
   *
   * @param fields the tensor's message
   * @param entry what it is to hold
   * @param target where the elements go, which has room for just them
   */
  TensorDecoder(Fields fields, TensorEntry entry, ByteBuffer target) {
    this.fields = fields;
    this.entry = entry;
    this.target = target;
    this.field =
        switch (entry.type()) {
          case F32 -> TensorParser.FLOAT_DATA;
          case F64 -> TensorParser.DOUBLE_DATA;
          case I64 -> TensorParser.INT64_DATA;
          default -> TensorParser.INT32_DATA;
        };
  }

  void run() throws IOException {
    fields.all(this::read);
    if (target.hasRemaining()) {
      throw miscounted();
    }
  }

  private boolean read(int number, int wireType) throws IOException {
    if (number != field) {
      return false;
    }
    if (wireType == Fields.BYTES) {
      fields.packed("data", this::element);
    } else {
      element();
    }
    return true;
  }

  private void element() throws IOException {
    if (!target.hasRemaining()) {
      throw miscounted();
    }
    switch (entry.type()) {
      case F32 -> target.putInt(fields.fixed32());
      case F64 -> target.putLong(fields.fixed64());
      case I64 -> target.putLong(fields.number());
      default -> {
        long bits = fields.number();
        switch (entry.type().bytes()) {
          case 4 -> target.putInt((int) bits);
          case 2 -> target.putShort((short) bits);
          default -> target.put((byte) bits);
        }
      }
    }
  }

  private BadInput miscounted() {
    return fields.fault(
        entry.name(), "has another number of elements than its shape " + entry.shape());
  }
}
