package org.normcore.cli.onnx;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.normcore.cli.BadInput;
import org.normcore.cli.safetensors.TensorEntry;

/**
 * Decodes data that a tensor's message holds element by element. The field depends on the type;
 * int32_data holds the bits of 8-bit and 16-bit floats.
 */
final class TensorDecoder {
  private final Fields fields;
  private final TensorEntry entry;
  private final ByteBuffer target;
  private final int field;

  /**
   * Makes a decoder.
   *
   * @param fields the tensor's message
   * @param entry the expected type and shape
   * @param target the buffer for the elements, of exactly their size
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
        entry.name(), "has a number of elements that does not match its shape " + entry.shape());
  }
}
