package org.normcore.cli.onnx;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.common.primitives.ImmutableLongArray;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.normcore.DType;
import org.normcore.TensorView;
import org.normcore.testing.OnnxModels;
import org.normcore.testing.Protobuf;

class OnnxFileTest {
  private static final int FLOAT16 = 10;
  private static final int DOUBLE = 11;
  private static final int BFLOAT16 = 16;

  @TempDir private Path directory;

  @Test
  void rawDataIsMapped() throws IOException {
    float[] values = {1, -2, 3, -4, 5, 6};
    try (OnnxFile file = open(new Protobuf().message(5, OnnxModels.floats("w", values, 2, 3)))) {
      TensorView view = file.view("w");
      assertEquals(DType.FLOAT32, view.dtype());
      assertArrayEquals(new long[] {2, 3}, view.shape());
      assertArrayEquals(values, view.toFloats());
      assertEquals(6, file.entries().get("w").elements());
    }
  }

  @Test
  void viewsOutliveTheFile() throws IOException {
    TensorView view;
    try (OnnxFile file = open(new Protobuf().message(5, OnnxModels.vector("w", 7, 8)))) {
      view = file.view("w");
    }
    assertArrayEquals(new float[] {7, 8}, view.toFloats());
  }

  @Test
  void everyEncodingOfFloatsIsRead() throws IOException {
    Protobuf unpacked =
        OnnxModels.tensor("unpacked", OnnxModels.FLOAT, 3).real(4, 1).real(4, 2).real(4, 3);
    Protobuf packed =
        OnnxModels.tensor("packed", OnnxModels.FLOAT, 3).bytes(4, OnnxModels.raw(1, 2, 3));
    Protobuf pieces =
        OnnxModels.tensor("pieces", OnnxModels.FLOAT, 3)
            .bytes(4, OnnxModels.raw(1))
            .bytes(4, OnnxModels.raw(2, 3));
    Protobuf half =
        OnnxModels.tensor("half", FLOAT16, 3)
            .number(5, 0x3c00)
            .number(5, 0x4000)
            .bytes(5, new byte[] {(byte) 0x80, (byte) 0x84, 1});
    Protobuf brain =
        OnnxModels.tensor("brain", BFLOAT16, 3)
            .number(5, 0x3f80)
            .number(5, 0x4000)
            .number(5, 0x4040);
    byte[] doubles = new byte[24];
    doubles[6] = (byte) 0xf0;
    doubles[7] = 0x3f;
    doubles[15] = 0x40;
    doubles[22] = 0x08;
    doubles[23] = 0x40;
    Protobuf wide = OnnxModels.tensor("wide", DOUBLE, 3).bytes(10, doubles);
    Protobuf graph = new Protobuf();
    for (Protobuf each : List.of(unpacked, packed, pieces, half, brain, wide)) {
      graph.message(5, each);
    }
    try (OnnxFile file = open(graph)) {
      assertEquals(6, file.entries().size());
      for (String name : file.entries().keySet()) {
        assertArrayEquals(new double[] {1, 2, 3}, file.view(name).toDoubles(), name);
      }
      assertEquals(DType.FLOAT16, file.view("half").dtype());
      assertEquals(DType.BFLOAT16, file.view("brain").dtype());
      assertEquals(DType.FLOAT64, file.view("wide").dtype());
    }
  }

  @Test
  void externalDataIsRead() throws IOException {
    Files.createDirectories(directory.resolve("weights"));
    ByteArrayOutputStream data = new ByteArrayOutputStream();
    data.writeBytes(OnnxModels.raw(9, 9));
    data.writeBytes(OnnxModels.raw(1, 2, 3));
    Files.write(directory.resolve("weights/data.bin"), data.toByteArray());
    Protobuf tensor =
        OnnxModels.tensor("w", OnnxModels.FLOAT, 3)
            .message(13, entry("location", "weights/data.bin"))
            .message(13, entry("offset", "8"))
            .message(13, entry("length", "12"))
            .message(13, entry("checksum", "0"))
            .number(14, 1);
    try (OnnxFile file = open(new Protobuf().message(5, tensor))) {
      assertArrayEquals(new float[] {1, 2, 3}, file.view("w").toFloats());
    }
  }

  @Test
  void consecutiveMessagesAreMerged() throws IOException {
    byte[] first = OnnxModels.model(new Protobuf().message(5, OnnxModels.vector("a", 1)));
    byte[] second =
        new Protobuf().message(7, new Protobuf().message(5, OnnxModels.vector("b", 2))).bytes();
    ByteArrayOutputStream both = new ByteArrayOutputStream();
    both.writeBytes(first);
    both.writeBytes(second);
    try (OnnxFile file = open(both.toByteArray())) {
      assertEquals(List.of("a", "b"), file.entries().keySet().asList());
      assertArrayEquals(new float[] {2}, file.view("b").toFloats());
    }
  }

  @Test
  void nodesAndConstantsAreRead() throws IOException {
    Protobuf constant =
        OnnxModels.node("Constant", "c")
            .message(
                5,
                new Protobuf()
                    .text(1, "value")
                    .message(
                        5, OnnxModels.tensor("", OnnxModels.FLOAT).bytes(9, OnnxModels.raw(1e-6f)))
                    .number(20, 4));
    Protobuf node =
        OnnxModels.node("ReduceMean", "m", "x", "", "axes")
            .text(3, "/norm/ReduceMean")
            .text(7, "somewhere")
            .message(5, OnnxModels.attribute("epsilon", 1e-12f))
            .message(5, OnnxModels.list("axes", -1, 2));
    Protobuf axes = OnnxModels.tensor("axes", OnnxModels.INT64, 2).number(7, -1).number(7, 5);
    try (OnnxFile file =
        open(new Protobuf().message(1, constant).message(1, node).message(5, axes))) {
      OnnxNode read = file.nodes().get(1);
      assertEquals("ReduceMean", read.op());
      assertEquals("somewhere", read.domain());
      assertEquals("/norm/ReduceMean", read.name());
      assertEquals(List.of("x", "", "axes"), read.inputs());
      assertEquals("m", read.output(0));
      assertEquals("", read.output(1));
      assertEquals(1e-12, read.numbers().get("epsilon"));
      assertEquals(ImmutableLongArray.of(-1, 2), read.lists().get("axes"));
      assertArrayEquals(new double[] {1e-6}, file.constant("c").orElseThrow());
      assertArrayEquals(new double[] {-1, 5}, file.constant("axes").orElseThrow());
      assertEquals(Optional.empty(), file.constant("x"));
    }
  }

  @Test
  void largeTensorsAreNeitherReadNorMapped() throws IOException {
    // A sparse file: 1.9 GB of weights that use no disk space.
    long bytes = 1_900_000_000L;
    byte[] tensor = OnnxModels.tensor("large", OnnxModels.FLOAT, bytes / 4).bytes();
    byte[] small = new Protobuf().message(5, OnnxModels.vector("w", 5)).bytes();
    Protobuf dataTag = new Protobuf().number(9, bytes);
    byte[] tag = dataTag.bytes();
    tag[0] = 9 << 3 | 2;
    long tensorLength = tensor.length + tag.length + bytes;
    byte[] tensorTag = new Protobuf().number(5, tensorLength).bytes();
    tensorTag[0] = 5 << 3 | 2;
    long graphLength = small.length + tensorTag.length + tensorLength;
    byte[] graphTag = new Protobuf().number(7, graphLength).bytes();
    graphTag[0] = 7 << 3 | 2;
    ByteArrayOutputStream head = new ByteArrayOutputStream();
    head.writeBytes(new Protobuf().number(1, 8).bytes());
    for (byte[] part : List.of(graphTag, small, tensorTag, tensor, tag)) {
      head.writeBytes(part);
    }
    Path path = directory.resolve("large.onnx");
    Files.write(path, head.toByteArray());
    try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
      file.setLength(head.size() + bytes);
    }
    try (OnnxFile file = OnnxFile.open(path)) {
      assertArrayEquals(new float[] {5}, file.view("w").toFloats());
      assertEquals(bytes, file.entries().get("large").bytes());
      assertEquals(bytes / 4, file.view("large").elements());
    }
  }

  private static Protobuf entry(String key, String value) {
    return new Protobuf().text(1, key).text(2, value);
  }

  private OnnxFile open(Protobuf graph) throws IOException {
    return open(OnnxModels.model(graph));
  }

  private OnnxFile open(byte[] model) throws IOException {
    return OnnxFile.open(Files.write(directory.resolve("model.onnx"), model));
  }
}
