package org.normcore.cli.onnx;

import com.google.common.primitives.ImmutableLongArray;
import java.io.IOException;
import java.util.Optional;
import org.normcore.cli.safetensors.Quoted;
import org.normcore.cli.safetensors.StoredType;
import org.normcore.cli.safetensors.TensorEntry;

/** Reads one {@code TensorProto} without its data. */
final class TensorParser {
  // TensorProto.
  private static final int DIMS = 1;
  private static final int DATA_TYPE = 2;
  private static final int SEGMENT = 3;
  static final int FLOAT_DATA = 4;
  static final int INT32_DATA = 5;
  static final int INT64_DATA = 7;
  private static final int NAME = 8;
  private static final int RAW_DATA = 9;
  static final int DOUBLE_DATA = 10;
  private static final int UINT64_DATA = 11;
  private static final int EXTERNAL_DATA = 13;
  private static final int DATA_LOCATION = 14;
  // StringStringEntryProto.
  private static final int KEY = 1;
  private static final int VALUE = 2;

  private static final int EXTERNAL = 1;
  private static final int MOST_DIMENSIONS = 64;

  private final Fields fields;
  private final ImmutableLongArray.Builder shape = ImmutableLongArray.builder();
  private String name = "";
  private int dimensions;
  private long typeNumber;
  private boolean segmented;
  private long dataBegin;
  private long dataBytes;
  private int pieces;
  private boolean coded;
  private boolean external;
  private String location = "";
  private String offset = "0";
  private String length = "";

  private TensorParser(Fields fields) {
    this.fields = fields;
  }

  /**
   * Reads the message in the current field. Returns empty if the type of the elements is
   * unsupported.
   */
  static Optional<OnnxTensor> parse(Fields fields) throws IOException {
    fields.keep();
    TensorParser parser = new TensorParser(fields);
    long begin = fields.message("tensor", parser::read);
    return parser.finish(begin, fields.position());
  }

  private boolean read(int field, int wireType) throws IOException {
    if (field == DIMS) {
      return dims(wireType);
    }
    if (field == DATA_TYPE && wireType == Fields.VARINT) {
      typeNumber = fields.number();
    } else if (field == NAME && wireType == Fields.BYTES) {
      name = fields.text("tensor's name");
    } else if (isPiece(field) && wireType == Fields.BYTES) {
      piece();
    } else if (field == EXTERNAL_DATA && wireType == Fields.BYTES) {
      externalEntry();
    } else if (field == DATA_LOCATION && wireType == Fields.VARINT) {
      external = fields.number() == EXTERNAL;
    } else {
      segmented |= field == SEGMENT;
      coded |= isCoded(field);
      return false;
    }
    return true;
  }

  private static boolean isPiece(int field) {
    return field == RAW_DATA || field == FLOAT_DATA || field == DOUBLE_DATA;
  }

  private static boolean isCoded(int field) {
    return field == INT32_DATA
        || field == INT64_DATA
        || field == UINT64_DATA
        || field == FLOAT_DATA
        || field == DOUBLE_DATA;
  }

  private boolean dims(int wireType) throws IOException {
    if (wireType == Fields.VARINT) {
      dimension();
      return true;
    }
    if (wireType == Fields.BYTES) {
      fields.packed("shape", this::dimension);
      return true;
    }
    return false;
  }

  private void dimension() throws IOException {
    if (++dimensions > MOST_DIMENSIONS) {
      throw fields.fault(name, "has more than " + MOST_DIMENSIONS + " dimensions");
    }
    fields.keep();
    shape.add(fields.number());
  }

  /** Raw elements: the whole tensor if this is the only such field. */
  private void piece() throws IOException {
    int bytes = fields.length("data of tensor \"" + Quoted.shorten(name) + "\"");
    pieces++;
    dataBegin = fields.position();
    dataBytes = bytes;
    fields.skip(bytes);
  }

  private void externalEntry() throws IOException {
    String[] entry = {"", ""};
    fields.message(
        "external data's entry",
        (field, wireType) -> {
          if (wireType != Fields.BYTES || (field != KEY && field != VALUE)) {
            return false;
          }
          entry[field - 1] = fields.text("external data's entry");
          return true;
        });
    if (entry[0].equals("location")) {
      location = entry[1];
    } else if (entry[0].equals("offset")) {
      offset = entry[1];
    } else if (entry[0].equals("length")) {
      length = entry[1];
    }
  }

  private Optional<OnnxTensor> finish(long begin, long end) {
    if (segmented) {
      throw fields.fault(name, "is a segment of a larger tensor, expected a whole tensor");
    }
    Optional<StoredType> type = OnnxType.find(typeNumber);
    if (type.isEmpty()) {
      return Optional.empty();
    }
    long bytes = bytes(type.get());
    boolean inPieces = !external && (coded || pieces > 1);
    long at = external ? externalBegin(type.get(), bytes) : dataBegin;
    if (inPieces) {
      checkCoded(type.get(), bytes, end - begin);
    } else if (!external && bytes != dataBytes) {
      throw fields.fault(name, "has " + dataBytes + " bytes, but" + needs(type.get(), bytes));
    }
    TensorEntry entry = new TensorEntry(name, type.get(), shape.build(), at, at + bytes);
    Optional<String> file = external ? Optional.of(location) : Optional.empty();
    return Optional.of(new OnnxTensor(entry, file, inPieces, begin, end));
  }

  private long externalBegin(StoredType type, long bytes) {
    if (!length.isEmpty() && natural(length, "length") != bytes) {
      throw fields.fault(name, "has " + length + " external bytes, but" + needs(type, bytes));
    }
    long at = natural(offset, "offset");
    if (at > Long.MAX_VALUE - bytes) {
      throw fields.fault(name, "has the external offset " + offset + ", which is too large");
    }
    return at;
  }

  /** Coded data also takes at least one byte per element. */
  private void checkCoded(StoredType type, long bytes, long messageBytes) {
    if (bytes > Math.min(messageBytes * type.bytes(), Integer.MAX_VALUE)) {
      throw fields.fault(name, "has " + messageBytes + " bytes in all, but" + needs(type, bytes));
    }
  }

  private String needs(StoredType type, long bytes) {
    return " " + type + " " + shape.build() + " needs " + bytes;
  }

  private long bytes(StoredType type) {
    ImmutableLongArray sizes = shape.build();
    long bytes = type.bytes();
    boolean empty = sizes.contains(0);
    for (int i = 0; i < sizes.length(); i++) {
      if (sizes.get(i) < 0) {
        throw fields.fault(name, "has the size " + sizes.get(i) + " in its shape");
      }
      try {
        bytes = empty ? 0 : Math.multiplyExact(bytes, sizes.get(i));
      } catch (ArithmeticException e) {
        throw fields.fault(name, "has a shape of more than 2^63 bytes");
      }
    }
    return empty ? 0 : bytes;
  }

  private long natural(String text, String what) {
    try {
      if (text.matches("[0-9]{1,19}")) {
        return Long.parseLong(text);
      }
    } catch (NumberFormatException e) {
      throw fields.fault(name, "has the external " + what + " " + text + ", which is too large");
    }
    throw fields.fault(
        name,
        "has the external " + what + " \"" + Quoted.shorten(text) + "\", expected a whole number");
  }
}
