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

/** Walks through a protobuf message, and counts what is kept of it. */
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

  /** What to do with a field. */
  interface Handler {
    /** Reads a field's value and returns true, or returns false, and it is skipped. */
    boolean read(int field, int wireType) throws IOException;
  }

  /** Reads one element of a packed field. */
  interface Element {
    void read() throws IOException;
  }

  /**
   * A message of the given length.
   *
   * @param file the file, for messages
   * @param stream the message
   * @param base where it begins in the file
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

  /** Walks through the fields up to the message's end. */
  void all(Handler handler) throws IOException {
    for (int tag = in.readTag(); tag != 0; tag = in.readTag()) {
      int wireType = WireFormat.getTagWireType(tag);
      if (!handler.read(WireFormat.getTagFieldNumber(tag), wireType) && !in.skipField(tag)) {
        throw new InvalidProtocolBufferException("a group ends that never began");
      }
    }
  }

  /** Walks through the message that is the current field, and returns where it begins. */
  long message(String what, Handler handler) throws IOException {
    int outer = in.pushLimit(length(what));
    long begin = position();
    all(handler);
    in.popLimit(outer);
    return begin;
  }

  /** Reads the numbers of the packed field that is the current one. */
  void packed(String what, Element element) throws IOException {
    int outer = in.pushLimit(length(what));
    while (!in.isAtEnd()) {
      element.read();
    }
    in.popLimit(outer);
  }

  /** The length of the current field of bytes, which has to lie within its message. */
  int length(String what) throws IOException {
    int length = in.readRawVarint32();
    if (length < 0 || length > in.getBytesUntilLimit()) {
      throw fault(
          "is cut off, or no ONNX model: its "
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
      throw fault("has a " + what + " of " + length + " bytes, more than is kept of a model");
    }
    keep();
    return length == 0 ? "" : new String(in.readRawBytes(length), StandardCharsets.UTF_8);
  }

  /** Counts one thing more that is kept, so that a hostile file can't fill the memory. */
  void keep() {
    if (++items > MOST_ITEMS) {
      throw fault("has more than " + MOST_ITEMS + " nodes, names, tensors and their sizes");
    }
  }

  BadInput fault(String fault) {
    return new BadInput(file + ": " + fault);
  }

  /** A fault of a tensor. */
  BadInput fault(String tensor, String fault) {
    return fault("tensor \"" + Quoted.shorten(tensor) + "\" " + fault);
  }
}
