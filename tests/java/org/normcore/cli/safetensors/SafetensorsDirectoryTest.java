package org.normcore.cli.safetensors;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.normcore.DType;
import org.normcore.NativeBuffer;
import org.normcore.TensorView;

class SafetensorsDirectoryTest {
  @TempDir private Path directory;

  @BeforeEach
  void writeShards() throws IOException {
    SafetensorsWriter.write(
        directory.resolve("a.safetensors"), ImmutableMap.of("first", tensor(1)));
    SafetensorsWriter.write(
        directory.resolve("b.safetensors"), ImmutableMap.of("second", tensor(2)));
  }

  @Test
  void allFilesAreReadWithoutAnIndex() throws IOException {
    try (SafetensorsDirectory model = SafetensorsDirectory.open(directory)) {
      assertEquals(ImmutableSet.of("first", "second"), model.entries().keySet());
      assertArrayEquals(new float[] {2}, model.view("second").toFloats());
    }
  }

  @Test
  void indexDeterminesFiles() throws IOException {
    index("{\"weight_map\":{\"second\":\"b.safetensors\"}}");
    try (SafetensorsDirectory model = SafetensorsDirectory.open(directory)) {
      assertEquals(ImmutableSet.of("second"), model.entries().keySet());
    }
  }

  @Test
  void modelFileTakesPrecedence() throws IOException {
    SafetensorsWriter.write(
        directory.resolve("model.safetensors"), ImmutableMap.of("first", tensor(3)));
    try (SafetensorsDirectory model = SafetensorsDirectory.open(directory)) {
      assertArrayEquals(new float[] {3}, model.view("first").toFloats());
    }
  }

  @Test
  void tensorsInTwoFilesAreRefused() throws IOException {
    SafetensorsWriter.write(
        directory.resolve("c.safetensors"), ImmutableMap.of("first", tensor(3)));
    refused("holds the tensor \"first\" in two files");
  }

  @Test
  void truncatedShardsAreRefused() throws IOException {
    Files.write(directory.resolve("b.safetensors"), new byte[3]);
    refused("is 3 bytes long, too short");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "is not valid JSON | {\"weight_map\":",
        "has no weight_map that is an object | {\"weight_map\":[]}",
        "c.safetensors: does not exist | {\"weight_map\":{\"first\":\"c.safetensors\"}}",
        "into b.safetensors, which does not hold it | {\"weight_map\":{\"first\":\"b.safetensors\"}}",
        "not the name of a *.safetensors file | {\"weight_map\":{\"first\":\"../a.safetensors\"}}",
        "not the name of a *.safetensors file | {\"weight_map\":{\"first\":\"/etc/passwd\"}}",
        "not the name of a *.safetensors file | {\"weight_map\":{\"first\":7}}",
      })
  void hostileIndicesAreRefused(String fault, String json) throws IOException {
    index(json);
    refused(fault);
  }

  @Test
  void emptyDirectoriesAreRefused() throws IOException {
    Files.delete(directory.resolve("a.safetensors"));
    Files.delete(directory.resolve("b.safetensors"));
    refused("holds no *.safetensors file");
  }

  private void index(String json) throws IOException {
    Files.writeString(directory.resolve("model.safetensors.index.json"), json);
  }

  private void refused(String fault) {
    String message =
        assertThrows(SafetensorsException.class, () -> SafetensorsDirectory.open(directory))
            .getMessage();
    assertTrue(message.contains(fault), message);
  }

  private static TensorView tensor(float value) {
    return NativeBuffer.allocate(DType.FLOAT32, 1)
        .view(DType.FLOAT32, 1)
        .copyFrom(new float[] {value});
  }
}
