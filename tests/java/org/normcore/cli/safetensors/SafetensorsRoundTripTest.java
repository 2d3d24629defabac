package org.normcore.cli.safetensors;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.normcore.DType;
import org.normcore.NativeBuffer;
import org.normcore.TensorView;

class SafetensorsRoundTripTest {
  @TempDir private Path directory;

  @Test
  void everyTypeAndShapeRoundTrips() throws IOException {
    ImmutableMap.Builder<String, TensorView> tensors = ImmutableMap.builder();
    for (DType dtype : DType.values()) {
      tensors.put(dtype.name(), dtype == DType.FLOAT8_E8M0 ? scales(3, 5) : tensor(dtype, 3, 5));
    }
    // An odd number of bytes, so that the next tensor has an odd address.
    tensors.put("odd", tensor(DType.FLOAT8_E5M2, 3));
    tensors.put("scalar", tensor(DType.FLOAT32));
    tensors.put("empty", tensor(DType.BFLOAT16, 0, 4));
    tensors.put("strange \"näme\"\n", tensor(DType.FLOAT64, 2, 1, 2));
    ImmutableMap<String, TensorView> written = tensors.buildOrThrow();
    Path path = directory.resolve("all.safetensors");
    SafetensorsWriter.write(path, written);

    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertEquals(written.keySet(), file.entries().keySet());
      for (String name : written.keySet()) {
        TensorView read = file.view(name);
        assertEquals(written.get(name).dtype(), read.dtype(), name);
        assertArrayEquals(written.get(name).shape(), read.shape(), name);
        assertArrayEquals(written.get(name).toBytes(), read.toBytes(), name);
        assertArrayEquals(written.get(name).toDoubles(), read.toDoubles(), name);
      }
    }
  }

  @Test
  void viewsOutliveTheFile() throws IOException {
    Path path = directory.resolve("x.safetensors");
    TensorView x = tensor(DType.FLOAT32, 100);
    SafetensorsWriter.write(path, ImmutableMap.of("x", x));
    TensorView read;
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      read = file.view("x");
    }
    assertArrayEquals(x.toBytes(), read.toBytes());
  }

  @Test
  void tensorsBeyondTwoGibibytesAreRead() throws IOException {
    long big = (1L << 31) + 12;
    String header =
        "{\"big\":{\"dtype\":\"U8\",\"shape\":["
            + big
            + "],\"data_offsets\":[0,"
            + big
            + "]},"
            + "\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":["
            + big
            + ","
            + (big + 8)
            + "]}}";
    Path path = directory.resolve("big.safetensors");
    byte[] text = header.getBytes(StandardCharsets.UTF_8);
    try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
      file.write(
          ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(text.length).array());
      file.write(text);
      file.seek(8 + text.length + big);
      file.write(
          ByteBuffer.allocate(8)
              .order(ByteOrder.LITTLE_ENDIAN)
              .putFloat(1.5f)
              .putFloat(-2)
              .array());
    }
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertArrayEquals(new float[] {1.5f, -2}, file.view("x").toFloats());
    }
  }

  @Test
  void metadataIsRead() throws IOException {
    try (SafetensorsFile file =
        SafetensorsFile.open(
            Path.of("tests/data/all-MiniLM-L6-v2-norms/activations.safetensors"))) {
      assertEquals("1e-12", file.metadata().get("eps"));
      assertEquals(26, file.entries().size());
    }
  }

  @Test
  void integersAreListedButNotViewed() throws IOException {
    byte[] header =
        "{\"ids\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}"
            .getBytes(StandardCharsets.UTF_8);
    Path path = directory.resolve("ids.safetensors");
    Files.write(
        path,
        ByteBuffer.allocate(16 + header.length)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(header.length)
            .put(header)
            .array());
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertEquals(StoredType.I64, file.entries().get("ids").type());
      String message =
          assertThrows(SafetensorsException.class, () -> file.view("ids")).getMessage();
      assertTrue(message.contains("\"ids\" is I64, not a floating-point type"), message);
      assertThrows(SafetensorsException.class, () -> file.view("other"));
    }
  }

  @Test
  void failedWritesKeepTheOldFile() throws IOException {
    Path path = directory.resolve("kept.safetensors");
    Files.writeString(path, "before");
    assertThrows(
        IOException.class,
        () ->
            AtomicFile.write(
                path,
                channel -> {
                  AtomicFile.writeFully(channel, ByteBuffer.wrap(new byte[100]));
                  throw new IOException("the disk is full");
                }));
    assertEquals("before", Files.readString(path));
    try (Stream<Path> files = Files.list(directory)) {
      assertEquals(List.of(path), files.toList());
    }
    assertThrows(
        SafetensorsException.class,
        () -> SafetensorsWriter.write(directory.resolve("no/such/file"), ImmutableMap.of()));
  }

  @Test
  void onlyRegularFilesAreReplaced() throws IOException {
    Path file = Files.writeString(directory.resolve("file"), "before");
    Path link = Files.createSymbolicLink(directory.resolve("link"), Path.of("file"));
    SafetensorsWriter.write(link, ImmutableMap.of("x", tensor(DType.FLOAT32, 2)));
    assertTrue(Files.isSymbolicLink(link));
    try (SafetensorsFile written = SafetensorsFile.open(file)) {
      assertEquals(ImmutableSet.of("x"), written.entries().keySet());
    }

    Path device = Files.createSymbolicLink(directory.resolve("device"), Path.of("/dev/null"));
    Path nowhere = Files.createSymbolicLink(directory.resolve("nowhere"), Path.of("missing"));
    for (Path other : List.of(device, nowhere)) {
      String message =
          assertThrows(
                  SafetensorsException.class,
                  () -> SafetensorsWriter.write(other, ImmutableMap.of()))
              .getMessage();
      assertTrue(message.contains("is not a regular file"), message);
      assertTrue(Files.isSymbolicLink(other));
      Files.delete(other);
    }
  }

  private static TensorView tensor(DType dtype, long... shape) {
    TensorView view = NativeBuffer.allocate(dtype, shape).view(dtype, shape);
    float[] values = new float[Math.toIntExact(view.elements())];
    for (int i = 0; i < values.length; i++) {
      values[i] = (i - 3) * 0.375f;
    }
    return view.copyFrom(values);
  }

  /** There is no conversion to the format of scales, so this writes its bytes. */
  private static TensorView scales(long... shape) {
    ByteBuffer codes = ByteBuffer.allocateDirect(15).order(ByteOrder.nativeOrder());
    for (int i = 0; i < 15; i++) {
      codes.put(i, (byte) (17 * (i + 1)));
    }
    return TensorView.of(codes, DType.FLOAT8_E8M0, shape);
  }
}
