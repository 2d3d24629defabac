package org.normcore.testing;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;

/** A builder of protobuf messages by field number. */
public final class Protobuf {
  private final ByteString.Output storage = ByteString.newOutput();
  private final CodedOutputStream stream = CodedOutputStream.newInstance(storage);

  private interface Write {
    void run() throws IOException;
  }

  private Protobuf write(Write write) {
    try {
      write.run();
      return this;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Adds an integer as a varint. */
  public Protobuf number(int field, long value) {
    return write(() -> stream.writeInt64(field, value));
  }

  /** Adds a float. */
  public Protobuf real(int field, float value) {
    return write(() -> stream.writeFloat(field, value));
  }

  /** Adds a string. */
  public Protobuf text(int field, String value) {
    return write(() -> stream.writeString(field, value));
  }

  /** Adds bytes. */
  public Protobuf bytes(int field, byte[] value) {
    return write(() -> stream.writeByteArray(field, value));
  }

  /** Adds a message. */
  public Protobuf message(int field, Protobuf value) {
    return bytes(field, value.bytes());
  }

  /** The message so far. */
  public byte[] bytes() {
    write(stream::flush);
    return storage.toByteString().toByteArray();
  }
}
