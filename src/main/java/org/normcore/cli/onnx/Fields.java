package org.normcore.cli.onnx;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.WireFormat;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.normcore.cli.BadInput;
import org.normcore.cli.safetensors.Quoted;

/** Reads the fields of a protobuf message and limits the number of kept items. */
final class Fields {
  static final int VARINT = WireFormat.WIRETYPE_VARINT;
  static final int FIXED32 = WireFormat.WIRETYPE_FIXED32;
  static final int FIXED64 = WireFormat.WIRETYPE_FIXED64;
  static final int BYTES = WireFormat.WIRETYPE_LENGTH_DELIMITED;

  private static final int LONGEST_TEXT = 1 << 16;
  private static final long LARGEST_TEXT = 100_000_000;
  private static final int MOST_ITEMS = 2_000_000;

  private final Path file;
  private final CodedInputStream in;
  private final long base;
  private long text;
  private int items;

  /** A handler of fields. */
  interface Handler {
    /** Reads a field's value and returns true, or returns false to skip it. */
    boolean read(int field, int wireType) throws IOException;
  }

  /** Reads one element of a packed field. */
  interface Element {
    void read() throws IOException;
  }

  /**
   * Makes the reader of a message.
   *
   * @param file the file, for messages
   * @param stream the message
   * @param base the position of its first byte in the file
   * @param bytes its length
   */
  Fields(Path file, InputStream stream, long base, int bytes) throws IOException {
    this.file = file;
    this.in = CodedInputStream.newInstance(stream);
    this.base = base;
    in.setSizeLimit(Integer.MAX_VALUE);
    in.pushLimit(bytes);
  }

  /** The position in the file. */
  long position() {
    return base + in.getTotalBytesRead();
  }

  /** Reads the fields up to the end of the message. */
  void all(Handler handler) throws IOException {
    for (int tag = in.readTag(); tag != 0; tag = in.readTag()) {
      int wireType = WireFormat.getTagWireType(tag);
      if (!handler.read(WireFormat.getTagFieldNumber(tag), wireType) && !in.skipField(tag)) {
        throw new InvalidProtocolBufferException("end of a group without its start");
      }
    }
  }

  /**
   * Reads the fields of the message in the current field and returns the position of its first
   * byte.
   */
  long message(String what, Handler handler) throws IOException {
    int outer = in.pushLimit(length(what));
    long begin = position();
    all(handler);
    in.popLimit(outer);
    return begin;
  }

  /** Reads the numbers of the current field, which is packed. */
  void packed(String what, Element element) throws IOException {
    int outer = in.pushLimit(length(what));
    while (!in.isAtEnd()) {
      element.read();
    }
    in.popLimit(outer);
  }

  /** The length of the current field of bytes, checked against the end of its message. */
  int length(String what) throws IOException {
    int length = in.readRawVarint32();
    if (length < 0 || length > in.getBytesUntilLimit()) {
      throw fault(
          "is truncated, or not an ONNX model: its "
              + what
              + " claims "
              + Integer.toUnsignedString(length)
              + " bytes, but "
              + in.getBytesUntilLimit()
              + " are left");
    }
    return length;
  }

  void skip(int bytes) throws IOException {
    in.skipRawBytes(bytes);
  }

  long number() throws IOException {
    return in.readRawVarint64();
  }

  int fixed32() throws IOException {
    return in.readRawLittleEndian32();
  }

  long fixed64() throws IOException {
    return in.readRawLittleEndian64();
  }

  String text(String what) throws IOException {
    int length = length(what);
    text += length;
    if (length > LONGEST_TEXT || text > LARGEST_TEXT) {
      throw fault("has a " + what + " of " + length + " bytes, more than the limit");
    }
    keep();
    return length == 0 ? "" : new String(in.readRawBytes(length), StandardCharsets.UTF_8);
  }

  /** Counts one more kept item; the limit protects the memory from hostile files. */
  void keep() {
    if (++items > MOST_ITEMS) {
      throw fault("has more than " + MOST_ITEMS + " nodes, names, tensors and their sizes");
    }
  }

  BadInput fault(String fault) {
    return new BadInput(file + ": " + fault);
  }

  /** Makes the exception for a fault of a tensor. */
  BadInput fault(String tensor, String fault) {
    return fault("tensor \"" + Quoted.shorten(tensor) + "\" " + fault);
  }
}
