package org.normcore.bench;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.normcore.DType;
import org.normcore.NormKind;
import org.normcore.TensorView;

/** Tests of the benchmarks and their reports. */
@Tag("bench")
class BenchTest {
  private static final List<NormKind> KINDS = List.of(NormKind.values());
  private static final List<Direction> DIRECTIONS = List.of(Direction.values());

  /** A shape that the check samples in part, with several rows per thread and a partial vector. */
  private static final Shape SMALL = Shape.parse("100x52");

  @ParameterizedTest
  @CsvSource({
    "FLOAT32, FLOAT32",
    "BFLOAT16, BFLOAT16",
    "FLOAT16, FLOAT16",
    "BFLOAT16, FLOAT32",
  })
  void everyContenderComputesWhatWeDo(DType dtype, DType weightType) {
    Plan plan =
        new Plan(List.of(SMALL), List.of(dtype), KINDS, DIRECTIONS, List.of(1, 2), List.of());
    Plan.Block block = new Plan.Block(SMALL, dtype, weightType);
    for (List<Workload> workloads : plan.fields(block)) {
      try (Tensors tensors = new Tensors(SMALL, dtype, weightType);
          Session session = new Session(workloads, tensors)) {
        session
            .absences()
            .forEach(
                (entrant, reason) -> assertFalse(reason.startsWith("computes"), entrant + reason));
        for (Library library : Libraries.copies()) {
          assertHas(session, Direction.INFERENCE, library.name());
        }
        for (Direction direction : DIRECTIONS) {
          assertHas(session, direction, Ours.NAME);
          assertHas(session, direction, "PyTorch");
          if (direction == Direction.FORWARD || direction == Direction.BACKWARD) {
            assertHas(session, direction, "PyTorch, fresh results");
          }
          if (dtype == DType.FLOAT32) {
            assertHas(session, direction, "oneDNN");
            if (direction != Direction.BACKWARD) {
              assertHas(session, direction, "ONNX Runtime");
            }
          }
        }
        session.contenders().values().forEach(BenchTest::runOnce);
      }
    }
  }

  private static void assertHas(Session session, Direction direction, String library) {
    Session.Entrant entrant = new Session.Entrant(direction, library);
    assertTrue(
        session.contenders().containsKey(entrant),
        () -> entrant + ": " + session.absences().get(entrant));
  }

  private static void runOnce(Contender contender) {
    contender.begin();
    try {
      contender.run();
    } finally {
      contender.end();
    }
  }

  @ParameterizedTest
  @CsvSource({"FLOAT32, 1.001", "BFLOAT16, 1.05", "FLOAT16, 1.01"})
  void somethingElseIsRefused(DType dtype, float factor) throws Absent {
    for (NormKind kind : KINDS) {
      for (Direction direction : DIRECTIONS) {
        Workload workload = new Workload(kind, direction, dtype, dtype, SMALL, 1);
        try (Tensors tensors = new Tensors(SMALL, dtype, dtype);
            Contender ours = Libraries.ours().prepare(workload, tensors)) {
          ours.run();
          Check check = new Check(workload, tensors);
          assertThrows(Absent.class, check::verify, workload + " with no results");
          ours.run();
          assertDoesNotThrow(check::verify);
          for (TensorView result : results(workload, tensors)) {
            ours.run();
            float[] values = result.toFloats();
            for (int i = 0; i < values.length; i++) {
              values[i] *= result.rank() == 1 ? 2 : factor;
            }
            result.copyFrom(values);
            assertThrows(Absent.class, check::verify, workload + ", " + result);
          }
        }
      }
    }
  }

  private static List<TensorView> results(Workload workload, Tensors tensors) {
    return switch (workload.direction()) {
      case INFERENCE, FORWARD -> List.of(tensors.y());
      case RESIDUAL -> List.of(tensors.y(), tensors.sum());
      case BACKWARD ->
          workload.isLayerNorm()
              ? List.of(tensors.dx(), tensors.dweight(), tensors.dbias())
              : List.of(tensors.dx(), tensors.dweight());
    };
  }

  @ParameterizedTest
  @CsvSource({"1", "2", "3"})
  void copiesCopy(int threads) throws Absent {
    // Large enough for several threads, and not a whole number of cache lines.
    Shape shape = Shape.parse("301x1001");
    Workload workload =
        new Workload(
            NormKind.RMS_NORM, Direction.FORWARD, DType.FLOAT32, DType.FLOAT32, shape, threads);
    for (Library library : Libraries.copies()) {
      try (Tensors tensors = new Tensors(shape, DType.FLOAT32, DType.FLOAT32);
          Contender copy = library.prepare(workload, tensors)) {
        runOnce(copy);
        assertEquals(0, difference(tensors.x(), tensors.y()), library.name());
      }
    }
  }

  private static long difference(TensorView a, TensorView b) {
    float[] left = a.toFloats();
    float[] right = b.toFloats();
    long count = 0;
    for (int i = 0; i < left.length; i++) {
      count += left[i] == right[i] ? 0 : 1;
    }
    return count;
  }

  @Test
  void runsAreWritten(@TempDir Path directory) throws Exception {
    // One size is averaged over many calls, the other is timed per call.
    List<Shape> shapes = List.of(SMALL, Shape.parse("300x1024"));
    List<Direction> directions = List.of(Direction.FORWARD, Direction.BACKWARD);
    Plan plan =
        new Plan(shapes, List.of(DType.FLOAT32), KINDS, directions, List.of(1, 2), List.of());
    List<Measurement> table =
        new Table(Effort.TINY, new PrintStream(OutputStream.nullOutputStream())).measure(plan);
    assertEquals(
        plan.fieldCount() * directions.size(), table.size(), "as many lines as were planned");
    Run run =
        new Run(
            Machine.description(),
            Run.versions(),
            1 << 20,
            Effort.TINY,
            table,
            List.of(
                new Latency(table.get(0).workload(), Ours.NAME, samples(1000)),
                new Latency(table.get(0).workload(), "oneDNN", samples(1900))),
            List.of(
                new JavaCost("forward 1x8", 1, 350, 140.0, 0.03),
                new JavaCost("forward 128x4096", 2, 90_000, null, 24)));
    List<Path> files = Reports.write(run, directory, "tiny");
    assertEquals(6, files.size(), files.toString());

    String text = Files.readString(directory.resolve("tiny.json"));
    assertEquals(table.size() + 2, text.lines().filter(l -> l.startsWith("{\"workload")).count());
    JsonObject json = JsonParser.parseString(text).getAsJsonObject();
    assertEquals(table.size(), json.getAsJsonArray("table").size());
    json.getAsJsonArray("table")
        .forEach(
            line -> {
              JsonObject times = line.getAsJsonObject().getAsJsonObject("times");
              for (String library : times.keySet()) {
                assertTrue(times.getAsJsonObject(library).get("median").getAsDouble() > 0);
              }
            });

    String markdown = Files.readString(directory.resolve("tiny.md"));
    for (String expected :
        List.of(
            "### layer-norm, backward",
            "| 100x52 | float32 | 2 |",
            "| one row, float32, from Java: times the best peer | at least 2.00 | missed in 1 of 1;"
                + " smallest 1.90",
            "| the Java interface: ns over the native call | at most 200 | missed in 1 of 1;"
                + " largest 210",
            "| the Java interface: bytes allocated per call | at most 8.00 | missed in 1 of 2;"
                + " largest 24",
            "(tiny-rms-norm-2-threads.svg)")) {
      assertTrue(markdown.contains(expected), expected + " in\n" + markdown);
    }

    String plot = Files.readString(directory.resolve("tiny-layer-norm-1-thread.svg"));
    assertTrue(plot.contains("oneDNN") && plot.contains("streaming copy"), plot);
    assertTrue(plot.contains(">100x52</text>") && plot.contains(">0.0</text>"), plot);
    DocumentBuilderFactory parsers = DocumentBuilderFactory.newInstance();
    parsers.setFeature("http://apache.org/xml/features/nonvalidating/load-external-dtd", false);
    parsers.newDocumentBuilder().parse(directory.resolve("tiny-layer-norm-1-thread.svg").toFile());
  }

  @Test
  void reportsAreRenderedFromTheSavedRun(@TempDir Path directory) throws Exception {
    Workload workload =
        new Workload(
            NormKind.LAYER_NORM, Direction.FORWARD, DType.BFLOAT16, DType.FLOAT32, SMALL, 2);
    Run run =
        new Run(
            Map.of("cpu", "<\"cpu\">", "date", "2026-11-22"),
            Map.of(Ours.NAME, "1", "oneDNN", "2"),
            1000,
            Effort.TINY,
            List.of(
                new Measurement(
                    workload,
                    samples(1234567),
                    samples(99.876),
                    Map.of(Ours.NAME, samples(0.5)),
                    Map.of("oneDNN", "no"))),
            List.of(new Latency(workload, Ours.NAME, samples(1e15 / 3))),
            List.of(
                new JavaCost("forward 1x8", 1, 350, 140.0, 0.031),
                new JavaCost("forward 128x4096", 2, 90_000, null, 24)));
    List<Path> files = Reports.write(run, directory, "saved");
    assertEquals(run, JsonReport.read(Files.readString(files.get(0))));

    Path again = directory.resolve("again");
    assertEquals(
        0, Main.command().execute("--report", files.get(0).toString(), "--out", again.toString()));
    for (Path file : files.subList(1, files.size())) {
      assertEquals(
          Files.readString(file), Files.readString(again.resolve(file.getFileName())), file + "");
    }
    assertFalse(Files.exists(again.resolve("saved.json")));
  }

  @Test
  void sharesCompareBytesPerSecond() {
    Workload backward =
        new Workload(
            NormKind.RMS_NORM,
            Direction.BACKWARD,
            DType.FLOAT32,
            DType.FLOAT32,
            Shape.parse("8x1024"),
            1);
    Measurement line =
        new Measurement(
            backward,
            samples(100),
            samples(80),
            Map.of(Ours.NAME, samples(120), "oneDNN", samples(240)),
            Map.of());
    assertEquals(1.25, line.ofMemcpy(Ours.NAME), 1e-12);
    assertEquals(1.0, line.ofStreaming(Ours.NAME), 1e-12);
    assertEquals(2.0, line.overBestPeer(), 1e-12);
    assertEquals(3 * 8 * 1024 * 4, backward.bytes());
  }

  private static Summary samples(double median) {
    return new Samples(new double[] {median * 2, median, median / 2}).summary();
  }
}
