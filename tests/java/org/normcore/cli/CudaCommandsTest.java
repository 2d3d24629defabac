package org.normcore.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.normcore.Cuda;
import org.normcore.DType;
import org.normcore.TensorView;
import org.normcore.cli.safetensors.SafetensorsWriter;
import org.normcore.testing.Arena;
import org.normcore.testing.NeedsCuda;
import org.normcore.testing.Values;

/** The commands on a CUDA device write the same results as on the CPU. */
@NeedsCuda
class CudaCommandsTest {
  @TempDir private Path directory;

  private final Arena arena = new Arena();

  @AfterEach
  void free() {
    arena.close();
  }

  private Path inputs(String name, long... matrix) throws IOException {
    Map<String, TensorView> tensors = new LinkedHashMap<>();
    long n = matrix[matrix.length - 1];
    long seed = 0;
    for (String one : new String[] {"x", "residual", "dy", "dresidual"}) {
      long count = 1;
      for (long size : matrix) {
        count *= size;
      }
      tensors.put(one, arena.tensor(DType.BFLOAT16, Values.normal(seed++, count), matrix));
    }
    tensors.put("weight", arena.tensor(DType.BFLOAT16, Values.normal(seed++, n), n));
    tensors.put("bias", arena.tensor(DType.BFLOAT16, Values.normal(seed, n), n));
    Path file = directory.resolve(name);
    SafetensorsWriter.write(file, tensors);
    return file;
  }

  private static CommandRun on(String device, Object... args) {
    List<Object> all = new ArrayList<>(List.of(args));
    all.add("--device");
    all.add(device);
    return CommandRun.succeeding(all.toArray());
  }

  @Test
  void applyWritesTheSameFile() throws IOException {
    Path in = inputs("in.safetensors", 2, 3, 40);
    String name = Cuda.devices().get(0).name();
    for (String op : new String[] {"rms-norm", "layer-norm"}) {
      Path cpu = directory.resolve("cpu.safetensors");
      Path gpu = directory.resolve("gpu.safetensors");
      Object[] shared = {"apply", op, "--policy", "hugging-face-llama", "--in", in, "--out"};
      List<Object> args = new ArrayList<>(List.of(shared));
      args.add(cpu);
      on("cpu", args.toArray());
      args.set(shared.length, gpu);
      String text = on("cuda", args.toArray()).out();
      assertTrue(text.contains("on cuda:0, " + name), text);
      assertArrayEquals(Files.readAllBytes(cpu), Files.readAllBytes(gpu), op);
      args.add("--json");
      JsonObject json = on("cuda:0", args.toArray()).json();
      assertEquals("cuda:0", json.get("device").getAsString());
      assertEquals(name, json.get("device_name").getAsString());
      assertEquals(
          op.equals("rms-norm") ? 6 : 7, json.getAsJsonObject("tensors").size(), json.toString());
    }
    JsonObject compared =
        on(
                "cuda",
                "apply",
                "layer-norm",
                "--json",
                "--in",
                in,
                "--policy",
                "hugging-face-llama",
                "--expect",
                directory.resolve("cpu.safetensors"),
                "--max-ulp",
                0)
            .json();
    assertTrue(compared.has("expect"));
  }

  /** Runs a command on both devices and compares the files. */
  private void assertSameFile(Path in, Object... command) throws IOException {
    List<byte[]> files = new ArrayList<>();
    for (String device : new String[] {"cpu", "cuda"}) {
      Path out = directory.resolve(device + ".safetensors");
      List<Object> args = new ArrayList<>(List.of("apply"));
      args.addAll(List.of(command));
      args.addAll(List.of("--in", in, "--out", out));
      on(device, args.toArray());
      files.add(Files.readAllBytes(out));
    }
    assertArrayEquals(files.get(0), files.get(1), List.of(command).toString());
  }

  @Test
  void fp8WritesTheSameFile() throws IOException {
    Path in = inputs("in.safetensors", 2, 3, 40);
    for (String format : new String[] {"e4m3", "e5m2"}) {
      assertSameFile(in, "fp8", "--format", format);
      assertSameFile(in, "fp8", "--format", format, "--scaling", "mxfp8");
      assertSameFile(in, "fp8", "--format", format, "--scale", 3.5);
      for (String scaling : new String[] {"tensor", "row", "block"}) {
        Object[] output = {"--output-dtype", "float8-" + format, "--output-scaling", scaling};
        assertSameFile(in, "rms-norm", output[0], output[1], output[2], output[3]);
        assertSameFile(in, "layer-norm", output[0], output[1], output[2], output[3]);
      }
    }
  }

  @Test
  void rotaryWritesTheSameFile() throws IOException {
    RawTensors tensors = new RawTensors();
    int seed = 0;
    for (String name : new String[] {"q", "k", "dq", "dk"}) {
      int heads = name.endsWith("q") ? 4 : 2;
      tensors.add(
          name,
          arena.tensor(
              DType.BFLOAT16, Values.normal(seed++, 2L * 3 * heads * 16), 2, 3, heads, 16));
    }
    Path in =
        tensors
            .integers("positions", new long[] {0, 1, 2, 500, 501, 70_000}, 2, 3)
            .write(directory.resolve("in.safetensors"));
    assertSameFile(in, "rotary");
    assertSameFile(in, "rotary", "--layout", "interleaved", "--rounding", "input");
    assertSameFile(in, "rotary", "--rotary-dim", 8, "--table-dtype", "float32");
  }

  @Test
  void fp8AuditGivesTheSameNumbers() {
    List<JsonObject> results = new ArrayList<>();
    for (String device : new String[] {"cpu", "cuda"}) {
      Path out = directory.resolve(device);
      JsonObject json =
          on(device, "audit", "--fp8", "--json", "--rows", 6, "--hidden", 72, "--out", out).json();
      assertEquals(device.equals("cpu") ? "cpu" : "cuda:0", json.get("device").getAsString());
      json.remove("device");
      json.remove("device_name");
      json.remove("report");
      results.add(json);
    }
    assertEquals(results.get(0), results.get(1));
  }

  @Test
  void auditGivesTheSameNumbers() throws IOException {
    List<JsonObject> results = new ArrayList<>();
    for (String device : new String[] {"cpu", "cuda"}) {
      Path out = directory.resolve(device);
      JsonObject json =
          on(device, "audit", "--json", "--rows", 6, "--hidden", 72, "--out", out).json();
      String report = Files.readString(out.resolve("report.html"));
      assertEquals(device.equals("cuda"), report.contains("cuda:0, "), device);
      assertEquals(device.equals("cpu") ? "cpu" : "cuda:0", json.get("device").getAsString());
      json.remove("device");
      json.remove("device_name");
      json.remove("report");
      results.add(json);
    }
    assertEquals(results.get(0), results.get(1));
    String text =
        on("cuda", "audit", "--rows", 4, "--hidden", 8, "--out", directory.resolve("text")).out();
    assertTrue(text.contains("Evaluated on cuda:0, "), text);
  }

  @Test
  void benchComparesWithDeviceCopies() {
    Object[] args = {
      "bench", "--rows", 3, "--hidden", "64", "--dtype", "bfloat16", "--seconds", "0.001"
    };
    String text = on("cuda", args).out();
    assertTrue(text.startsWith("Device cuda:0, " + Cuda.devices().get(0).name()), text);
    assertEquals(2, text.lines().filter(line -> line.contains("backward")).count(), text);
    List<Object> withJson = new ArrayList<>(List.of(args));
    withJson.add("--json");
    JsonObject json = on("cuda", withJson.toArray()).json();
    assertEquals("cuda:0", json.get("device").getAsString());
    JsonArray cases = json.getAsJsonArray("cases");
    assertEquals(6, cases.size());
    for (JsonElement element : cases) {
      JsonObject one = element.getAsJsonObject();
      assertTrue(one.get("median_seconds").getAsDouble() > 0);
      assertTrue(one.get("one_row_seconds").getAsDouble() > 0);
      assertTrue(one.get("copy_bytes_per_second").getAsDouble() > 0);
    }
  }

  @Test
  void benchMeasuresRotaryAndFp8() {
    String text =
        on(
                "cuda",
                "bench",
                "--op",
                "rotary,fp8",
                "--rows",
                2,
                "--hidden",
                "64",
                "--dtype",
                "bfloat16",
                "--seconds",
                "0.001")
            .out();
    assertEquals(2, text.lines().filter(line -> line.startsWith("rotary ")).count(), text);
    assertEquals(2, text.lines().filter(line -> line.startsWith("fp8 ")).count(), text);
  }

  @Test
  void infoListsTheDevices() {
    String name = Cuda.devices().get(0).name();
    String text = CommandRun.succeeding("info").out();
    assertTrue(text.contains("cuda          " + name + " (cuda:0, "), text);
    JsonObject cuda =
        CommandRun.succeeding("info", "--json", "--device", "cuda").json().getAsJsonObject("cuda");
    assertTrue(cuda.get("available").getAsBoolean());
    assertTrue(cuda.get("reason").isJsonNull());
    JsonArray devices = cuda.getAsJsonArray("devices");
    assertEquals(Cuda.deviceCount(), devices.size());
    JsonObject first = devices.get(0).getAsJsonObject();
    assertEquals("cuda:0", first.get("device").getAsString());
    assertEquals(name, first.get("name").getAsString());
    assertTrue(first.get("compute_capability").getAsString().matches("\\d+\\.\\d"));
    assertFalse(first.get("multiprocessors").getAsInt() < 1);
    assertFalse(first.get("memory_bytes").getAsLong() < 1);
  }

  @Test
  void missingDevicesAreRefused() {
    String expected = "--device is cuda:99, but this machine has " + Cuda.deviceCount() + " CUDA";
    CommandRun.refused(expected, "info", "--device", "cuda:99");
    CommandRun.refused(expected, "bench", "--device", "cuda:99");
    CommandRun.refused(expected, "audit", "--device", "cuda:99");
    CommandRun.refused(
        expected, "apply", "rms-norm", "--in", "x", "--out", "y", "--device", "cuda:99");
    CommandRun.refused("expected cpu, cuda or cuda:K", "info", "--device", "cuda:x");
  }
}
