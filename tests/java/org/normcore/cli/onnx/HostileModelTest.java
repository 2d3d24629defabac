package org.normcore.cli.onnx;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.normcore.cli.BadInput;
import org.normcore.cli.CommandRun;
import org.normcore.testing.OnnxModels;
import org.normcore.testing.Protobuf;

/** Files that are truncated, inconsistent or not ONNX models. */
class HostileModelTest {
  private static final int INITIALIZER = 5;

  @TempDir private Path directory;

  static Stream<Arguments> liars() {
    float[] two = {1, 2};
    String zeros = "0".repeat(1 << 17);
    return Stream.of(
        Arguments.of("has 8 bytes, but F32 [3] needs 12", tensor(OnnxModels.floats("w", two, 3))),
        Arguments.of("has 8 bytes, but F32 [1] needs 4", tensor(OnnxModels.floats("w", two, 1))),
        Arguments.of("has 0 bytes, but F32 [3] needs 12", tensor(OnnxModels.tensor("w", 1, 3))),
        Arguments.of("has the size -3 in its shape", tensor(OnnxModels.floats("w", two, -3))),
        Arguments.of(
            "has a shape of more than 2^63 bytes",
            tensor(OnnxModels.floats("w", two, 1L << 40, 1L << 40))),
        Arguments.of(
            "has more than 64 dimensions", tensor(OnnxModels.floats("w", two, new long[65]))),
        Arguments.of(
            "occurs twice",
            OnnxModels.model(
                new Protobuf()
                    .message(INITIALIZER, OnnxModels.vector("w", 1))
                    .message(INITIALIZER, OnnxModels.vector("w", 2)))),
        Arguments.of(
            "computes the value \"y\" in two nodes",
            OnnxModels.model(
                new Protobuf()
                    .message(1, OnnxModels.node("Sqrt", "y", "x"))
                    .message(1, OnnxModels.node("Sqrt", "y", "z")))),
        Arguments.of(
            "is a segment of a larger tensor",
            tensor(OnnxModels.vector("w", 1).message(3, new Protobuf().number(1, 0)))),
        Arguments.of(
            "bytes in all, but F32 [1000] needs 4000",
            tensor(OnnxModels.tensor("w", 1, 1000).real(4, 1))),
        Arguments.of("has the external offset \"-1\"", tensor(external("data", "offset", "-1"))),
        Arguments.of(
            "has the external offset 9999999999999999999, which is too large",
            tensor(external("data", "offset", "9999999999999999999"))),
        Arguments.of(
            "has 8 external bytes, but F32 [3] needs 12", tensor(external("data", "length", "8"))),
        Arguments.of(
            "has a node's name of 131072 bytes",
            OnnxModels.model(new Protobuf().message(1, new Protobuf().text(3, zeros)))),
        Arguments.of("has no graph", new Protobuf().number(1, 8).bytes()),
        Arguments.of("has no ir_version", new Protobuf().message(7, new Protobuf()).bytes()),
        Arguments.of("has no graph", new byte[0]),
        Arguments.of("is damaged, or not an ONNX model: byte", new byte[] {0, 0}),
        Arguments.of(
            "is damaged, or not an ONNX model",
            "version https://git-lfs.github.com/spec/v1".getBytes(StandardCharsets.UTF_8)),
        Arguments.of("is damaged, or not an ONNX model", new byte[] {'P', 'K', 3, 4, 0, 0}),
        Arguments.of("is damaged, or not an ONNX model", groups(100_000)),
        Arguments.of("is damaged, or not an ONNX model", new byte[] {8, 8, 15 << 3 | 4}),
        Arguments.of(
            "its graph claims 2147483647 bytes, but 0 are left",
            new byte[] {8, 8, 7 << 3 | 2, -1, -1, -1, -1, 7}));
  }

  /** Nested groups, a deprecated protobuf feature. */
  private static byte[] groups(int depth) {
    byte[] all = new byte[depth];
    Arrays.fill(all, (byte) (15 << 3 | 3));
    return all;
  }

  @ParameterizedTest
  @MethodSource("liars")
  void inconsistentModelsAreRefused(String fault, byte[] model) throws IOException {
    refused(fault, model);
    CommandRun.refused(
        fault, "audit", "--model", write(model), "--out", directory.resolve("report"));
  }

  @Test
  void truncatedModelsAreRefused() throws IOException {
    byte[] model = tensor(OnnxModels.vector("w", 1, 2, 3));
    for (int length = 0; length < model.length; length++) {
      byte[] part = Arrays.copyOf(model, length);
      String message = refused("", part);
      assertTrue(message.contains("not an ONNX model") || message.contains("is damaged"), message);
    }
    try (OnnxFile whole = OnnxFile.open(write(model))) {
      assertEquals(1, whole.entries().size());
    }
  }

  @Test
  void alteredBytesCauseNoOtherFailure() throws IOException {
    byte[] model = tensor(OnnxModels.vector("w", 1, 2, 3));
    Random random = new Random(4);
    for (int i = 0; i < 1000; i++) {
      byte[] noisy = model.clone();
      noisy[random.nextInt(noisy.length)] = (byte) random.nextInt();
      Path file = write(noisy);
      try (OnnxFile read = OnnxFile.open(file)) {
        for (String name : read.entries().keySet()) {
          if (read.entries().get(name).type().dtype().isPresent()) {
            read.view(name).toBytes();
          }
        }
      } catch (BadInput e) {
        assertTrue(e.getMessage().startsWith(file.toString()), e.getMessage());
      }
    }
  }

  @Test
  void itemLimitIsEnforced() throws IOException {
    // Two bytes each: empty nodes.
    byte[] graph = new byte[2 * 2_000_001];
    for (int i = 0; i < graph.length; i += 2) {
      graph[i] = 1 << 3 | 2;
    }
    refused(
        "has more than 2000000 nodes, names, tensors and their sizes",
        new Protobuf().number(1, 8).bytes(7, graph).bytes());
  }

  @Test
  void externalDataMustBeInModelDirectory() throws IOException {
    Files.write(directory.resolve("short"), new byte[8]);
    for (String location : new String[] {"../data", "/etc/passwd", "", "a/../../data", "a\0b"}) {
      viewRefused("expected the name of a file in the model's directory", location);
    }
    viewRefused("which is not a file", "nowhere");
    viewRefused("ends at byte 12 of", "short");
  }

  @Test
  void codedDataSizeIsChecked() throws IOException {
    Protobuf few = OnnxModels.tensor("w", OnnxModels.FLOAT, 3).real(4, 1).real(4, 2);
    Protobuf many = OnnxModels.tensor("w", OnnxModels.FLOAT, 1).real(4, 1).real(4, 2).real(4, 3);
    for (Protobuf tensor : new Protobuf[] {few, many}) {
      try (OnnxFile file = OnnxFile.open(write(tensor(tensor)))) {
        String message = assertThrows(BadInput.class, () -> file.view("w")).getMessage();
        assertTrue(
            message.contains("has a number of elements that does not match its shape"), message);
      }
    }
  }

  @Test
  void invalidPathsAreRefused() {
    String missing =
        assertThrows(BadInput.class, () -> OnnxFile.open(directory.resolve("x"))).getMessage();
    assertTrue(missing.endsWith("does not exist"), missing);
    String folder = assertThrows(BadInput.class, () -> OnnxFile.open(directory)).getMessage();
    assertTrue(folder.endsWith("is not a regular file"), folder);
  }

  private void viewRefused(String fault, String location) throws IOException {
    try (OnnxFile file = OnnxFile.open(write(tensor(external(location, "offset", "0"))))) {
      String message = assertThrows(BadInput.class, () -> file.view("w")).getMessage();
      assertTrue(message.contains(fault), message);
      assertEquals(1, message.lines().count(), message);
    }
  }

  private static Protobuf external(String location, String key, String value) {
    return OnnxModels.tensor("w", OnnxModels.FLOAT, 3)
        .message(13, new Protobuf().text(1, "location").text(2, location))
        .message(13, new Protobuf().text(1, key).text(2, value))
        .number(14, 1);
  }

  private static byte[] tensor(Protobuf tensor) {
    return OnnxModels.model(new Protobuf().message(INITIALIZER, tensor));
  }

  private String refused(String fault, byte[] model) throws IOException {
    Path file = write(model);
    String message = assertThrows(BadInput.class, () -> OnnxFile.open(file)).getMessage();
    assertTrue(message.startsWith(file.toString()), message);
    assertTrue(message.contains(fault), message);
    assertEquals(1, message.lines().count());
    assertTrue(message.length() < 500, message);
    return message;
  }

  private Path write(byte[] model) throws IOException {
    return Files.write(directory.resolve("hostile.onnx"), model);
  }
}
