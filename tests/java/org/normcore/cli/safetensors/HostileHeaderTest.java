package org.normcore.cli.safetensors;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.normcore.cli.CommandRun;

/** Invalid headers. Each file has 16 bytes of data. */
class HostileHeaderTest {
  private static final int DATA = 16;

  @TempDir private Path directory;

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "is not a JSON object | []",
        "is not a JSON object | 7",
        "is not valid JSON | {",
        "is not valid JSON | {\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}",
        "is not valid JSON | {'x':{}}",
        "is not valid JSON | {\"x\":{\"dtype\":\"F32\",\"shape\":[NaN],\"data_offsets\":[0,16]}}",
        "is not valid JSON | {} {}",
        "has the JSON key \"x\" twice | {\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
            + "\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
        "has the JSON key \"dtype\" twice | {\"x\":{\"dtype\":\"F32\",\"dtype\":\"F64\",\"shape\":[4],\"data_offsets\":[0,16]}}",
        "has the unknown dtype \"F31\" | {\"x\":{\"dtype\":\"F31\",\"shape\":[4],\"data_offsets\":[0,16]}}",
        "is not valid JSON | {\"x\":{\"dtype\":\"F32\",\"shape\":[1e99999999999],\"data_offsets\":[0,16]}}",
        "has no dtype that is a string | {\"x\":{\"shape\":[4],\"data_offsets\":[0,16]}}",
        "has no shape that is a list | {\"x\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,16]}}",
        "has no data_offsets that is a list | {\"x\":{\"dtype\":\"F32\",\"shape\":[4]}}",
        "has 3 data_offsets instead of 2 | {\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16,16]}}",
        "has the unknown key \"extra\" | {\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16],\"extra\":1}}",
        "\"x\" is not a JSON object | {\"x\":null}",
        "the data_offsets value -8 | {\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[-8,8]}}",
        "the shape value -4 | {\"x\":{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}}",
        "the shape value 4.5 | {\"x\":{\"dtype\":\"F32\",\"shape\":[4.5],\"data_offsets\":[0,16]}}",
        "the shape value 4E+3 | {\"x\":{\"dtype\":\"F32\",\"shape\":[4e3],\"data_offsets\":[0,16]}}",
        "the shape value \"4\" | {\"x\":{\"dtype\":\"F32\",\"shape\":[\"4\"],\"data_offsets\":[0,16]}}",
        "begins at byte 16, after its end | {\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}}",
        "ends at byte 20 of the data, which has only 16 | "
            + "{\"x\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,20]}}",
        "ends at byte 9223372036854775807 | "
            + "{\"x\":{\"dtype\":\"U8\",\"shape\":[9223372036854775807],\"data_offsets\":[0,9223372036854775807]}}",
        "which is too large | {\"x\":{\"dtype\":\"U8\",\"shape\":[9999999999999999999],\"data_offsets\":[0,16]}}",
        "has a shape of more than 2^63 bytes | "
            + "{\"x\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,16]}}",
        "has 16 bytes, but F32 [3] needs 12 | {\"x\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,16]}}",
        "overlaps | {\"x\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},"
            + "\"y\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
        "has a hole of 4 bytes between tensor \"x\" and tensor \"y\" | "
            + "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
            + "\"y\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
        "has a hole of 8 bytes between the header and | {\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
        "has 8 bytes after tensor \"x\" that belong to no tensor | "
            + "{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
        "__metadata__ that is not a JSON object | {\"__metadata__\":[],"
            + "\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
        "whose \"a\" is not a string | {\"__metadata__\":{\"a\":1},"
            + "\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
      })
  void inconsistentHeadersAreRefused(String fault, String header) throws IOException {
    Path file = write(header.getBytes(StandardCharsets.UTF_8));
    refused(fault, file);
    CommandRun.refused(fault, "apply", "rms-norm", "--in", file, "--out", directory.resolve("out"));
  }

  @Test
  void shortFilesAreRefused() throws IOException {
    Path file = directory.resolve("short");
    Files.write(file, new byte[5]);
    refused("is 5 bytes long, too short", file);
  }

  @Test
  void headersLongerThanTheFileAreRefused() throws IOException {
    Path file = directory.resolve("long");
    Files.write(file, length(1000));
    refused("claims a header of 1000 bytes, but is only 8 bytes long", file);
  }

  @Test
  void hugeHeadersAreRefusedWithoutBeingRead() throws IOException {
    Path file = directory.resolve("huge");
    Files.write(file, length(100_000_001));
    refused("claims a header of 100000001 bytes, more than", file);
    Files.write(file, length(-1));
    refused("claims a header of 18446744073709551615 bytes, more than", file);
  }

  @Test
  void nonTextHeadersAreRefused() throws IOException {
    refused("is not UTF-8", write(new byte[] {'{', (byte) 0xff, '}'}));
  }

  @Test
  void deepNestingIsRefused() throws IOException {
    refused(
        "is not valid JSON",
        write(("{\"x\":" + "[".repeat(100_000)).getBytes(StandardCharsets.UTF_8)));
  }

  @Test
  void endlessNumbersAreRefused() throws IOException {
    String header =
        "{\"x\":{\"dtype\":\"F32\",\"shape\":["
            + "9".repeat(100_000)
            + "],\"data_offsets\":[0,16]}}";
    refused("is not valid JSON", write(header.getBytes(StandardCharsets.UTF_8)));
  }

  @Test
  void otherFilesAreRefused() {
    refused("does not exist", directory.resolve("nowhere"));
    refused("is a directory", directory);
  }

  private void refused(String fault, Path file) {
    String message =
        assertThrows(SafetensorsException.class, () -> SafetensorsFile.open(file)).getMessage();
    assertTrue(message.startsWith(file.toString()), message);
    assertTrue(message.contains(fault), message);
    assertEquals(1, message.lines().count());
    assertTrue(message.length() < 500, message);
  }

  private Path write(byte[] header) throws IOException {
    Path file = directory.resolve("hostile.safetensors");
    ByteBuffer bytes = ByteBuffer.allocate(8 + header.length + DATA).order(ByteOrder.LITTLE_ENDIAN);
    bytes.putLong(header.length).put(header);
    Files.write(file, bytes.array());
    return file;
  }

  private static byte[] length(long value) {
    return ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array();
  }
}
