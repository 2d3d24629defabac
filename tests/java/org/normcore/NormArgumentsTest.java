package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT16;
import static org.normcore.DType.FLOAT32;
import static org.normcore.DType.FLOAT64;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Stream;
import org.bytedeco.javacpp.FloatPointer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.normcore.testing.Arena;
import org.normcore.testing.Values;

/**
 * Every invalid call throws the documented exception, whose message names the argument, its value
 * and the expectation, and writes nothing.
 */
class NormArgumentsTest {
  private static final int ROWS = 3;
  private static final int N = 8;

  /** A norm and the tensors of correct calls; each case makes one of them invalid. */
  private static final class Setting implements AutoCloseable {
    final Arena arena = new Arena();
    final NormKind kind;
    final Norm norm;
    final Norm otherNorm;
    final TensorView x = filled(FLOAT32, ROWS, N);
    final TensorView residual = filled(FLOAT32, ROWS, N);
    final TensorView residualOut = arena.tensor(FLOAT32, ROWS, N);
    final TensorView weight = filled(BFLOAT16, N);
    final TensorView bias = filled(BFLOAT16, N);
    final TensorView y = arena.tensor(FLOAT32, ROWS, N);
    final TensorView mean;
    final TensorView rstd = arena.tensor(FLOAT32, ROWS);
    final TensorView dy = filled(FLOAT32, ROWS, N);
    final TensorView dx = arena.tensor(FLOAT32, ROWS, N);
    final TensorView dresidual = filled(FLOAT32, ROWS, N);
    final TensorView dweight = arena.tensor(BFLOAT16, N);
    final TensorView dbias = arena.tensor(BFLOAT16, N);
    final NativeBuffer workspace;
    final Saved saved;
    final Saved reuse;

    Setting(NormKind kind) {
      this.kind = kind;
      this.norm = builder(kind).build();
      this.otherNorm = builder(kind).build();
      boolean layer = kind == NormKind.LAYER_NORM;
      this.mean = layer ? arena.tensor(FLOAT32, ROWS) : null;
      this.saved = norm.forward(operands());
      this.reuse = norm.newSaved(ROWS);
      this.workspace =
          NativeBuffer.allocate(
              norm.backwardWorkspaceBytes(
                  ROWS,
                  Gradients.of(dx)
                      .weight(dweight, GradientMode.WRITE)
                      .bias(dbias, GradientMode.WRITE)));
      norm.forward(operands(), mean, rstd);
    }

    static Norm.Builder<?> builder(NormKind kind) {
      Norm.Builder<?> builder =
          kind == NormKind.LAYER_NORM ? LayerNorm.builder(N) : RmsNorm.builder(N);
      return builder
          .input(FLOAT32)
          .weight(BFLOAT16)
          .affine(Affine.WEIGHT_AND_BIAS)
          .policy(NormPolicy.HUGGING_FACE_LLAMA);
    }

    TensorView filled(DType dtype, long... shape) {
      TensorView view = arena.tensor(dtype, shape);
      return view.copyFrom(Values.normal(view.address(), view.elements()));
    }

    Operands operands() {
      return Operands.of(x, y).weight(weight).bias(bias);
    }

    Gradients gradients() {
      return Gradients.of(dx).weight(dweight, GradientMode.WRITE).bias(dbias, GradientMode.WRITE);
    }

    Saved filledSaved() {
      return norm.forward(operands());
    }

    TensorView closed(DType dtype, long... shape) {
      try (NativeBuffer buffer = NativeBuffer.allocate(dtype, shape)) {
        return buffer.view(dtype, shape);
      }
    }

    TensorView deallocated(long... shape) {
      FloatPointer pointer = new FloatPointer(ROWS * N);
      TensorView view = TensorView.of(pointer, FLOAT32, shape);
      pointer.deallocate();
      return view;
    }

    TensorView remote(DType dtype, long... shape) {
      return TensorView.ofAddress(4096, dtype, Device.cuda(0), shape);
    }

    TensorView at(TensorView base, long offset, DType dtype, long... shape) {
      return TensorView.ofAddress(base.address() + offset, dtype, Device.CPU, shape);
    }

    /** Makes the call, which must throw and change nothing. */
    void assertRefused(
        String what, Class<? extends Exception> type, Runnable call, List<String> parts) {
      List<byte[]> before = arena.snapshot();
      byte[] statistics = saved.rstd().toBytes();
      Exception thrown = assertThrows(type, call::run, what);
      for (String part : parts) {
        assertTrue(
            String.valueOf(thrown.getMessage()).contains(part),
            what + ": \"" + thrown.getMessage() + "\" should say \"" + part + "\"");
      }
      arena.assertUnchanged(before, what);
      assertArrayEquals(statistics, saved.rstd().toBytes(), what);
      // All objects remain usable.
      norm.infer(operands());
      norm.backward(saved, dy, gradients());
      arena.assertGuards();
    }

    @Override
    public void close() {
      saved.close();
      reuse.close();
      workspace.close();
      norm.close();
      otherNorm.close();
      arena.close();
    }
  }

  private record BadOperands(String name, Function<Setting, Operands> operands, String... parts) {}

  private static final Class<IllegalArgumentException> ILLEGAL = IllegalArgumentException.class;
  private static final Class<UnsupportedOperationException> UNSUPPORTED =
      UnsupportedOperationException.class;

  private static BadOperands bad(
      String name, Function<Setting, Operands> operands, String... parts) {
    return new BadOperands(name, operands, parts);
  }

  private static Operands with(Setting s, TensorView x, TensorView y) {
    return Operands.of(x, y).weight(s.weight).bias(s.bias);
  }

  private static List<BadOperands> badOperands() {
    List<BadOperands> all = new ArrayList<>();
    all.add(bad("null operands", s -> null, "operands", "null"));
    all.add(bad("null x", s -> with(s, null, s.y), "x: null", "expected"));
    all.add(bad("null y", s -> with(s, s.x, null), "y: null", "expected"));
    all.add(
        bad(
            "x with the wrong hidden size",
            s -> with(s, s.arena.tensor(FLOAT32, 2, N + 1), s.y),
            "x: normalized shape [8] expected a tensor of shape [*, 8], got [2, 9]"));
    all.add(
        bad(
            "x without dimensions",
            s -> with(s, s.arena.tensor(FLOAT32, 1).reshape(), s.y),
            "x: ",
            "[*, 8]",
            "[]"));
    all.add(
        bad(
            "y with the wrong hidden size",
            s -> with(s, s.x, s.arena.tensor(FLOAT32, ROWS, N - 1)),
            "y: ",
            "[*, 8]",
            "[3, 7]"));
    all.add(
        bad(
            "fewer rows in y",
            s -> with(s, s.x, s.arena.tensor(FLOAT32, ROWS - 1, N)),
            "y: 2 rows",
            "3"));
    all.add(
        bad(
            "more rows in y",
            s -> with(s, s.x, s.arena.tensor(FLOAT32, ROWS + 1, N)),
            "y: 4 rows",
            "3"));
    all.add(
        bad(
            "x of a wrong dtype",
            s -> with(s, s.arena.tensor(FLOAT16, ROWS, N), s.y),
            "x: dtype FLOAT16",
            "expected FLOAT32"));
    all.add(
        bad(
            "y of a wrong dtype",
            s -> with(s, s.x, s.arena.tensor(BFLOAT16, ROWS, N)),
            "y: dtype BFLOAT16",
            "expected FLOAT32"));
    all.add(
        bad("no weight", s -> s.operands().weight((TensorView) null), "weight: null", "expected"));
    all.add(bad("no bias", s -> s.operands().bias(null), "bias: null", "expected"));
    all.add(
        bad(
            "short weight",
            s -> s.operands().weight(s.arena.tensor(BFLOAT16, N - 1)),
            "weight: ",
            "[8]",
            "[7]"));
    all.add(
        bad(
            "weight in two dimensions",
            s -> s.operands().weight(s.arena.tensor(BFLOAT16, 1, N)),
            "weight: ",
            "[8]",
            "[1, 8]"));
    all.add(
        bad(
            "long bias",
            s -> s.operands().bias(s.arena.tensor(BFLOAT16, N + 1)),
            "bias: ",
            "[8]",
            "[9]"));
    all.add(
        bad(
            "weight of a wrong dtype",
            s -> s.operands().weight(s.arena.tensor(FLOAT32, N)),
            "weight: dtype FLOAT32",
            "expected BFLOAT16"));
    all.add(
        bad(
            "bias of a wrong dtype",
            s -> s.operands().bias(s.arena.tensor(FLOAT16, N)),
            "bias: dtype FLOAT16",
            "expected BFLOAT16"));
    all.add(
        bad("null residual", s -> s.operands().residual(null, s.residualOut), "residual: null"));
    all.add(
        bad("null residualOut", s -> s.operands().residual(s.residual, null), "residualOut: null"));
    all.add(
        bad(
            "fewer rows in residual",
            s -> s.operands().residual(s.arena.tensor(FLOAT32, 1, N), s.residualOut),
            "residual: 1 rows",
            "3"));
    all.add(
        bad(
            "more rows in residualOut",
            s -> s.operands().residual(s.residual, s.arena.tensor(FLOAT32, 9, N)),
            "residualOut: 9 rows",
            "3"));
    all.add(
        bad(
            "residual of a wrong dtype",
            s -> s.operands().residual(s.arena.tensor(FLOAT64, ROWS, N), s.residualOut),
            "residual: dtype FLOAT64",
            "expected FLOAT32"));
    all.add(
        bad(
            "residualOut of a wrong dtype",
            s -> s.operands().residual(s.residual, s.arena.tensor(FLOAT16, ROWS, N)),
            "residualOut: dtype FLOAT16",
            "expected FLOAT32"));
    all.add(bad("closed x", s -> with(s, s.closed(FLOAT32, ROWS, N), s.y), "x: ", "closed"));
    all.add(bad("closed y", s -> with(s, s.x, s.closed(FLOAT32, ROWS, N)), "y: ", "closed"));
    all.add(
        bad(
            "closed weight",
            s -> s.operands().weight(s.closed(BFLOAT16, N)),
            "weight: ",
            "closed"));
    all.add(bad("closed bias", s -> s.operands().bias(s.closed(BFLOAT16, N)), "bias: ", "closed"));
    all.add(
        bad(
            "closed residual",
            s -> s.operands().residual(s.closed(FLOAT32, ROWS, N), s.residualOut),
            "residual: ",
            "closed"));
    all.add(
        bad(
            "closed residualOut",
            s -> s.operands().residual(s.residual, s.closed(FLOAT32, ROWS, N)),
            "residualOut: ",
            "closed"));
    all.add(bad("deallocated x", s -> with(s, s.deallocated(ROWS, N), s.y), "x: ", "deallocated"));
    all.add(bad("deallocated y", s -> with(s, s.x, s.deallocated(ROWS, N)), "y: ", "deallocated"));
    all.add(
        bad(
            "y a row further than x",
            s -> with(s, s.x, s.at(s.x, N * 4, FLOAT32, ROWS, N)),
            "y",
            "x"));
    all.add(
        bad(
            "y an element further than x",
            s -> with(s, s.x, s.at(s.x, 4, FLOAT32, ROWS, N)),
            "y",
            "x"));
    all.add(
        bad("y over weight", s -> s.operands().weight(s.at(s.y, 40, BFLOAT16, N)), "y", "weight"));
    all.add(bad("y over bias", s -> s.operands().bias(s.at(s.y, 40, BFLOAT16, N)), "y", "bias"));
    all.add(
        bad(
            "residualOut over y",
            s -> s.operands().residual(s.residual, s.at(s.y, 32, FLOAT32, ROWS, N)),
            "residualOut",
            "y"));
    all.add(bad("residualOut and y the same", s -> s.operands().residual(s.residual, s.y), "y"));
    all.add(
        bad(
            "residualOut a row into residual",
            s -> s.operands().residual(s.residual, s.at(s.residual, 32, FLOAT32, ROWS, N)),
            "residualOut",
            "residual"));
    all.add(
        bad(
            "y in place of x with another stride",
            s -> with(s, s.x, s.at(s.x, 0, FLOAT32, ROWS, N).withRowStride(N + 1)),
            "y",
            "x"));
    all.add(
        bad(
            "x on a GPU",
            s -> with(s, s.remote(FLOAT32, ROWS, N), s.y),
            "x: is on cuda:0",
            "expected it on cpu"));
    all.add(
        bad(
            "y on a GPU",
            s -> with(s, s.x, s.remote(FLOAT32, ROWS, N)),
            "y: is on cuda:0",
            "expected it on cpu"));
    all.add(
        bad(
            "weight on a GPU",
            s -> s.operands().weight(s.remote(BFLOAT16, N)),
            "weight: is on cuda:0",
            "expected it on cpu"));
    return all;
  }

  /** Each of the calls that take operands, with the rest correct. */
  @ParameterizedTest
  @EnumSource
  void operandsOfEveryForwardCall(NormKind kind) {
    for (BadOperands bad : badOperands()) {
      List<String> parts = List.of(bad.parts);
      try (Setting s = new Setting(kind)) {
        s.assertRefused(
            "infer, " + bad.name, ILLEGAL, () -> s.norm.infer(bad.operands.apply(s)), parts);
      }
      try (Setting s = new Setting(kind)) {
        s.assertRefused(
            "forward, " + bad.name, ILLEGAL, () -> s.norm.forward(bad.operands.apply(s)), parts);
      }
      try (Setting s = new Setting(kind)) {
        s.assertRefused(
            "forward with reuse, " + bad.name,
            ILLEGAL,
            () -> s.norm.forward(bad.operands.apply(s), s.reuse),
            parts);
        assertThrows(IllegalStateException.class, s.reuse::rows, "nothing was saved");
      }
      try (Setting s = new Setting(kind)) {
        s.assertRefused(
            "forward with statistics, " + bad.name,
            ILLEGAL,
            () -> s.norm.forward(bad.operands.apply(s), s.mean, s.rstd),
            parts);
      }
    }
  }

  private record BadCall(
      String name, Class<? extends Exception> type, Consumer<Setting> call, List<String> parts) {
    @Override
    public String toString() {
      return name;
    }
  }

  private static BadCall call(String name, Consumer<Setting> call, String... parts) {
    return new BadCall(name, ILLEGAL, call, List.of(parts));
  }

  private static BadCall state(String name, Consumer<Setting> call, String... parts) {
    return new BadCall(name, IllegalStateException.class, call, List.of(parts));
  }

  /** A backward whose gradients are wrong, from a Saved and from ordinary buffers. */
  private static Stream<BadCall> backward(
      String name, Function<Setting, Gradients> gradients, String... parts) {
    return Stream.of(
        call(name, s -> s.norm.backward(s.saved, s.dy, gradients.apply(s)), parts),
        call(
            name + ", with statistics",
            s ->
                s.norm.backward(
                    s.x, s.weight, s.mean, s.rstd, s.dy, gradients.apply(s), s.workspace),
            parts));
  }

  private static Stream<BadCall> gradient(
      String name, Function<Setting, TensorView> dy, String... parts) {
    return Stream.of(
        call(name, s -> s.norm.backward(s.saved, dy.apply(s), s.gradients()), parts),
        call(
            name + ", with statistics",
            s ->
                s.norm.backward(
                    s.x, s.weight, s.mean, s.rstd, dy.apply(s), s.gradients(), s.workspace),
            parts));
  }

  private static void plain(
      Setting s, TensorView x, TensorView weight, TensorView mean, TensorView rstd) {
    s.norm.backward(x, weight, mean, rstd, s.dy, s.gradients(), s.workspace);
  }

  private static void plain(Setting s, NativeBuffer workspace) {
    s.norm.backward(s.x, s.weight, s.mean, s.rstd, s.dy, s.gradients(), workspace);
  }

  static Stream<BadCall> badCalls() {
    GradientMode write = GradientMode.WRITE;
    GradientMode accumulate = GradientMode.ACCUMULATE;
    return Stream.of(
            Stream.of(
                call(
                    "training in place",
                    s -> s.norm.forward(with(s, s.x, s.x)),
                    "y: in place of x"),
                call(
                    "training in place, reuse",
                    s -> s.norm.forward(with(s, s.x, s.x), s.reuse),
                    "y: in place of x"),
                call("null reuse", s -> s.norm.forward(s.operands(), null), "reuse: null"),
                call(
                    "reuse of another norm",
                    s -> s.otherNorm.forward(s.operands(), s.reuse),
                    "reuse: is of another norm",
                    "expected one of"),
                call(
                    "reuse too small",
                    s -> {
                      try (Saved small = s.norm.newSaved(ROWS - 1)) {
                        s.norm.forward(s.operands(), small);
                      }
                    },
                    "reuse: made for 2 rows",
                    "3"),
                state(
                    "closed reuse",
                    s -> {
                      Saved closed = s.norm.newSaved(ROWS);
                      closed.close();
                      s.norm.forward(s.operands(), closed);
                    },
                    "Saved is closed"),
                call("negative rows of a Saved", s -> s.norm.newSaved(-1), "rows: -1", "expected"),
                call("huge Saved", s -> s.norm.newSaved(Long.MAX_VALUE), "rows: ", "expected"),
                call("null rstd", s -> s.norm.forward(s.operands(), s.mean, null), "rstd: null"),
                call(
                    "short rstd",
                    s -> s.norm.forward(s.operands(), s.mean, s.arena.tensor(FLOAT32, ROWS - 1)),
                    "rstd: ",
                    "[2]",
                    "expected 3"),
                call(
                    "rstd of a wrong dtype",
                    s -> s.norm.forward(s.operands(), s.mean, s.arena.tensor(FLOAT64, ROWS)),
                    "rstd: dtype FLOAT64",
                    "FLOAT32"),
                call(
                    "rstd with gaps",
                    s ->
                        s.norm.forward(
                            s.operands(), s.mean, s.arena.tensor(0, 1, FLOAT32, ROWS, 1)),
                    "rstd: ",
                    "gaps"),
                call(
                    "rstd over y",
                    s -> s.norm.forward(s.operands(), s.mean, s.at(s.y, 4, FLOAT32, ROWS)),
                    "rstd",
                    "y"),
                call(
                    "closed rstd",
                    s -> s.norm.forward(s.operands(), s.mean, s.closed(FLOAT32, ROWS)),
                    "rstd: ",
                    "closed"),
                call("null Saved", s -> s.norm.backward(null, s.dy, s.gradients()), "saved: null"),
                call(
                    "Saved of another norm",
                    s -> s.otherNorm.backward(s.saved, s.dy, s.gradients()),
                    "saved: is of another norm",
                    "expected one of"),
                state(
                    "Saved never filled",
                    s -> s.norm.backward(s.reuse, s.dy, s.gradients()),
                    "Saved holds nothing"),
                state(
                    "closed Saved",
                    s -> {
                      Saved closed = s.filledSaved();
                      closed.close();
                      s.norm.backward(closed, s.dy, s.gradients());
                    },
                    "Saved is closed"),
                call(
                    "null gradients", s -> s.norm.backward(s.saved, s.dy, null), "gradients: null"),
                call(
                    "null x of a backward",
                    s -> plain(s, null, s.weight, s.mean, s.rstd),
                    "x: null"),
                call(
                    "null weight of a backward",
                    s -> plain(s, s.x, null, s.mean, s.rstd),
                    "weight: null"),
                call(
                    "null rstd of a backward",
                    s -> plain(s, s.x, s.weight, s.mean, null),
                    "rstd: null"),
                call(
                    "short rstd of a backward",
                    s -> plain(s, s.x, s.weight, s.mean, s.arena.tensor(FLOAT32, 1)),
                    "rstd: ",
                    "expected 3"),
                call(
                    "x of a wrong shape",
                    s -> plain(s, s.arena.tensor(FLOAT32, ROWS, N + 1), s.weight, s.mean, s.rstd),
                    "x: ",
                    "[*, 8]",
                    "[3, 9]"),
                call(
                    "x of a wrong dtype",
                    s -> plain(s, s.arena.tensor(BFLOAT16, ROWS, N), s.weight, s.mean, s.rstd),
                    "x: dtype BFLOAT16"),
                call(
                    "closed x of a backward",
                    s -> plain(s, s.closed(FLOAT32, ROWS, N), s.weight, s.mean, s.rstd),
                    "x: ",
                    "closed"),
                call("null workspace", s -> plain(s, null), "workspace: null", "expected"),
                call(
                    "small workspace",
                    s -> {
                      try (NativeBuffer small = NativeBuffer.allocate(s.workspace.bytes() - 1)) {
                        plain(s, small);
                      }
                    },
                    "workspace: ",
                    "expected",
                    "bytes"),
                call(
                    "closed workspace",
                    s -> {
                      NativeBuffer closed = NativeBuffer.allocate(s.workspace.bytes());
                      closed.close();
                      plain(s, closed);
                    },
                    "workspace: ",
                    "closed"),
                call(
                    "negative rows of a workspace",
                    s -> s.norm.backwardWorkspaceBytes(-1, s.gradients()),
                    "rows: -1"),
                call(
                    "workspace for null",
                    s -> s.norm.backwardWorkspaceBytes(1, null),
                    "gradients: null"),
                call("null dx", s -> Gradients.of(null), "dx: null"),
                call("null dweight", s -> Gradients.none().weight(null, write), "dweight: null"),
                call("null dbias", s -> Gradients.none().bias(null, write), "dbias: null"),
                call("null dresidual", s -> Gradients.none().residual(null), "dresidual: null"),
                call(
                    "dx on a GPU",
                    s -> s.norm.backward(s.saved, s.dy, Gradients.of(s.remote(FLOAT32, ROWS, N))),
                    "dx: is on cuda:0",
                    "expected it on cpu")),
            gradient("null dy", s -> null, "dy: null"),
            gradient(
                "dy of a wrong shape",
                s -> s.arena.tensor(FLOAT32, ROWS, N - 1),
                "dy: ",
                "[*, 8]",
                "[3, 7]"),
            gradient(
                "dy of a wrong dtype",
                s -> s.arena.tensor(BFLOAT16, ROWS, N),
                "dy: dtype BFLOAT16",
                "FLOAT32"),
            gradient(
                "fewer rows in dy", s -> s.arena.tensor(FLOAT32, ROWS - 1, N), "dy: 2 rows", "3"),
            gradient("closed dy", s -> s.closed(FLOAT32, ROWS, N), "dy: ", "closed"),
            gradient("dy a row into dx", s -> s.at(s.dx, 32, FLOAT32, ROWS, N), "dx", "dy"),
            backward(
                "dx of a wrong shape",
                s -> Gradients.of(s.arena.tensor(FLOAT32, ROWS, N + 1)),
                "dx: ",
                "[*, 8]",
                "[3, 9]"),
            backward(
                "dx of a wrong dtype",
                s -> Gradients.of(s.arena.tensor(BFLOAT16, ROWS, N)),
                "dx: dtype BFLOAT16",
                "FLOAT32"),
            backward(
                "fewer rows in dx",
                s -> Gradients.of(s.arena.tensor(FLOAT32, ROWS - 1, N)),
                "dx: 2 rows",
                "3"),
            backward("closed dx", s -> Gradients.of(s.closed(FLOAT32, ROWS, N)), "dx: ", "closed"),
            backward(
                "dx a row into x", s -> Gradients.of(s.at(s.x, 32, FLOAT32, ROWS, N)), "dx", "x"),
            backward("dx over weight", s -> Gradients.of(s.at(s.weight, 0, FLOAT32, 1, N)), "dx"),
            backward(
                "dresidual without dx",
                s -> Gradients.none().residual(s.dresidual),
                "dresidual: ",
                "dx"),
            backward(
                "dresidual of a wrong dtype",
                s -> s.gradients().residual(s.arena.tensor(FLOAT16, ROWS, N)),
                "dresidual: dtype FLOAT16"),
            backward(
                "fewer rows in dresidual",
                s -> s.gradients().residual(s.arena.tensor(FLOAT32, 1, N)),
                "dresidual: 1 rows",
                "3"),
            backward(
                "dresidual a row into dx",
                s -> s.gradients().residual(s.at(s.dx, 32, FLOAT32, ROWS, N)),
                "dx",
                "dresidual"),
            backward(
                "dweight of a wrong shape",
                s -> s.gradients().weight(s.arena.tensor(BFLOAT16, N + 1), write),
                "dweight: ",
                "[8]",
                "[9]"),
            backward(
                "dweight of a wrong dtype",
                s -> s.gradients().weight(s.arena.tensor(FLOAT16, N), write),
                "dweight: dtype FLOAT16",
                "FLOAT32",
                "BFLOAT16"),
            backward(
                "dweight accumulated in 16 bits",
                s -> s.gradients().weight(s.dweight, accumulate),
                "dweight: dtype BFLOAT16",
                "FLOAT32 to accumulate"),
            backward(
                "closed dweight",
                s -> s.gradients().weight(s.closed(BFLOAT16, N), write),
                "dweight: ",
                "closed"),
            backward(
                "dbias of a wrong shape",
                s -> s.gradients().bias(s.arena.tensor(BFLOAT16, N, 1), write),
                "dbias: ",
                "[8]",
                "[8, 1]"),
            backward(
                "dbias of a wrong dtype",
                s -> s.gradients().bias(s.arena.tensor(FLOAT64, N), write),
                "dbias: dtype FLOAT64"),
            backward(
                "dbias accumulated in 16 bits",
                s -> s.gradients().bias(s.dbias, accumulate),
                "dbias: dtype BFLOAT16",
                "FLOAT32"),
            backward(
                "dweight and dbias the same",
                s -> s.gradients().weight(s.dbias, write),
                "dweight: shares memory with dbias"),
            backward(
                "dweight over x",
                s -> s.gradients().weight(s.at(s.x, 90, BFLOAT16, N), write),
                "dweight: shares memory with x"),
            backward(
                "dweight over weight",
                s -> s.gradients().weight(s.at(s.weight, 2, BFLOAT16, N), write),
                "dweight: shares memory with weight"),
            backward(
                "dbias over dy",
                s -> s.gradients().bias(s.at(s.dy, 50, BFLOAT16, N), write),
                "dbias: shares memory with dy"),
            backward(
                "dbias over dx",
                s -> s.gradients().bias(s.at(s.dx, 0, BFLOAT16, N), write),
                "dbias: shares memory with dx"),
            backward(
                "dbias over dresidual",
                s ->
                    s.gradients()
                        .residual(s.dresidual)
                        .bias(s.at(s.dresidual, 0, BFLOAT16, N), write),
                "dbias: shares memory with dresidual"),
            Stream.of(
                call(
                    "dweight over rstd",
                    s ->
                        s.norm.backward(
                            s.x,
                            s.weight,
                            s.mean,
                            s.rstd,
                            s.dy,
                            s.gradients().weight(s.at(s.rstd, 8, BFLOAT16, N), write),
                            s.workspace),
                    "dweight: shares memory with rstd"),
                call(
                    "dbias over the workspace",
                    s ->
                        s.norm.backward(
                            s.x,
                            s.weight,
                            s.mean,
                            s.rstd,
                            s.dy,
                            s.gradients().bias(s.workspace.view(BFLOAT16, N), write),
                            s.workspace),
                    "dbias: shares memory with workspace")))
        .flatMap(calls -> calls);
  }

  @ParameterizedTest
  @MethodSource("badCalls")
  void everyOtherArgument(BadCall bad) {
    for (NormKind kind : NormKind.values()) {
      try (Setting s = new Setting(kind)) {
        s.assertRefused(kind + ", " + bad.name, bad.type, () -> bad.call.accept(s), bad.parts);
      }
    }
  }

  @Test
  void meanBelongsToLayerNormOnly() {
    try (Setting s = new Setting(NormKind.RMS_NORM)) {
      TensorView mean = s.arena.tensor(FLOAT32, ROWS);
      s.assertRefused(
          "mean",
          ILLEGAL,
          () -> s.norm.forward(s.operands(), mean, s.rstd),
          List.of("mean: ", "RMSNorm has none"));
      s.assertRefused(
          "mean",
          ILLEGAL,
          () -> plain(s, s.x, s.weight, mean, s.rstd),
          List.of("mean: ", "RMSNorm has none"));
    }
    try (Setting s = new Setting(NormKind.LAYER_NORM)) {
      s.assertRefused(
          "mean", ILLEGAL, () -> s.norm.forward(s.operands(), null, s.rstd), List.of("mean: null"));
      s.assertRefused(
          "mean",
          ILLEGAL,
          () -> s.norm.forward(s.operands(), s.rstd, s.rstd),
          List.of("mean", "rstd"));
      s.assertRefused(
          "mean", ILLEGAL, () -> plain(s, s.x, s.weight, null, s.rstd), List.of("mean: null"));
      s.assertRefused(
          "mean",
          ILLEGAL,
          () -> plain(s, s.x, s.weight, s.arena.tensor(FLOAT32, 2), s.rstd),
          List.of("mean: ", "expected 3"));
      s.assertRefused(
          "dbias",
          ILLEGAL,
          () ->
              s.norm.backward(
                  s.x,
                  s.weight,
                  s.mean,
                  s.rstd,
                  s.dy,
                  s.gradients().bias(s.at(s.mean, 4, BFLOAT16, N), GradientMode.WRITE),
                  s.workspace),
          List.of("dbias: shares memory with mean"));
    }
  }

  /** Operands and gradients of parameters that the norm lacks are refused. */
  @ParameterizedTest
  @EnumSource
  void affineFormsAreKept(Affine affine) {
    for (NormKind kind : NormKind.values()) {
      try (Setting s = new Setting(kind);
          Norm norm = Setting.builder(kind).affine(affine).build();
          Saved saved =
              norm.forward(
                  Operands.of(s.x, s.y)
                      .weight(affine.hasWeight() ? s.weight : null)
                      .bias(affine.hasBias() ? s.bias : null))) {
        String form = "its affine form is " + affine;
        Operands inverted =
            Operands.of(s.x, s.y)
                .weight(affine.hasWeight() ? null : s.weight)
                .bias(affine.hasBias() ? null : s.bias);
        s.assertRefused(
            "affine",
            ILLEGAL,
            () -> norm.infer(inverted),
            List.of(affine.hasWeight() ? "weight: null" : "weight: given as BFLOAT16[8] on cpu"));
        if (!affine.hasBias()) {
          s.assertRefused(
              "bias",
              ILLEGAL,
              () ->
                  norm.infer(
                      Operands.of(s.x, s.y)
                          .weight(affine.hasWeight() ? s.weight : null)
                          .bias(s.bias)),
              List.of("bias: given as", form));
          s.assertRefused(
              "dbias",
              ILLEGAL,
              () -> norm.backward(saved, s.dy, Gradients.none().bias(s.dbias, GradientMode.WRITE)),
              List.of("dbias: requested as", "affine form is " + affine));
          s.assertRefused(
              "workspace of dbias",
              ILLEGAL,
              () ->
                  norm.backwardWorkspaceBytes(
                      ROWS, Gradients.none().bias(s.dbias, GradientMode.WRITE)),
              List.of("dbias: requested as BFLOAT16[8]", "affine form is " + affine));
        }
        if (!affine.hasWeight()) {
          s.assertRefused(
              "dweight",
              ILLEGAL,
              () ->
                  norm.backward(
                      saved, s.dy, Gradients.none().weight(s.dweight, GradientMode.WRITE)),
              List.of("dweight: requested as", "affine form is " + affine));
          s.assertRefused(
              "workspace of dweight",
              ILLEGAL,
              () ->
                  norm.backwardWorkspaceBytes(
                      ROWS, Gradients.none().weight(s.dweight, GradientMode.WRITE)),
              List.of("dweight: requested as BFLOAT16[8]", "affine form is " + affine));
        }
      }
    }
  }

  @Test
  void severalNormalizedDimensionsAreCheckedAsAWhole() {
    try (Arena arena = new Arena();
        RmsNorm norm =
            RmsNorm.builder(2, 4)
                .input(FLOAT32)
                .affine(Affine.NONE)
                .policy(NormPolicy.PYTORCH)
                .build()) {
      TensorView y = arena.tensor(FLOAT32, 3, 2, 4);
      List<byte[]> before = arena.snapshot();
      String message =
          assertThrows(ILLEGAL, () -> norm.infer(arena.tensor(FLOAT32, 3, 4, 2), null, y))
              .getMessage();
      assertEquals(
          "x: normalized shape [2, 4] expected a tensor of shape [*, 2, 4], got [3, 4, 2]",
          message);
      message =
          assertThrows(ILLEGAL, () -> norm.infer(arena.tensor(FLOAT32, 3, 8), null, y))
              .getMessage();
      assertTrue(message.contains("[*, 2, 4], got [3, 8]"), message);
      message =
          assertThrows(ILLEGAL, () -> norm.infer(arena.tensor(0, 1, FLOAT32, 3, 2, 4), null, y))
              .getMessage();
      assertTrue(message.contains("gaps"), message);
      arena.assertUnchanged(before, "a refused call");
    }
  }

  @ParameterizedTest
  @ValueSource(
      doubles = {-1e-9, -1, Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY})
  void epsilon(double epsilon) {
    String message =
        assertThrows(ILLEGAL, () -> LayerNorm.builder(4).epsilon(epsilon)).getMessage();
    assertTrue(message.contains("epsilon: " + epsilon) && message.contains("at least 0"), message);
  }

  @Test
  void hiddenSizes() {
    for (long[] shape :
        new long[][] {
          {}, {0}, {-1}, {4, 0}, {4, -4}, {(1 << 20) + 1}, {1 << 10, 1 << 11}, {1L << 40, 1L << 40}
        }) {
      String message = assertThrows(ILLEGAL, () -> RmsNorm.builder(shape)).getMessage();
      assertTrue(message.contains("normalizedShape: ") && message.contains("1048576"), message);
      assertThrows(ILLEGAL, () -> LayerNorm.builder(shape));
    }
  }

  @Test
  void incompleteBuildersAreRefused() {
    RmsNorm.Builder builder = RmsNorm.builder(4);
    for (DType dtype : new DType[] {DType.FLOAT8_E4M3, DType.FLOAT8_E5M2, DType.FLOAT8_E8M0}) {
      for (Runnable call :
          List.<Runnable>of(
              () -> builder.input(dtype),
              () -> builder.weight(dtype),
              () -> builder.gradient(dtype))) {
        String message = assertThrows(ILLEGAL, call::run).getMessage();
        assertTrue(message.contains(dtype.toString()) && message.contains("expected"), message);
      }
    }
    String scales = assertThrows(ILLEGAL, () -> builder.output(DType.FLOAT8_E8M0)).getMessage();
    assertTrue(scales.startsWith("output: FLOAT8_E8M0; expected FLOAT64"), scales);
    for (int threads : new int[] {Integer.MIN_VALUE, 0, 1025, Integer.MAX_VALUE}) {
      String refusal = assertThrows(ILLEGAL, () -> builder.threads(threads)).getMessage();
      assertEquals("threads: " + threads + "; expected 1 to 1024", refusal);
    }
    builder.threads(1).threads(1024);
    String message;
    assertThrows(NullPointerException.class, () -> builder.policy(null));
    assertThrows(NullPointerException.class, () -> builder.executor(null));
    assertThrows(NullPointerException.class, () -> builder.affine(null));
    assertThrows(NullPointerException.class, () -> builder.vectorLevel(null));
    message = assertThrows(IllegalStateException.class, builder::build).getMessage();
    assertTrue(message.contains("input: not set"), message);
    message =
        assertThrows(IllegalStateException.class, () -> builder.input(FLOAT32).build())
            .getMessage();
    assertTrue(message.contains("policy: not set"), message);
    int refused = 0;
    for (VectorLevel level : VectorLevel.values()) {
      if (!level.isSupported()) {
        message =
            assertThrows(
                    UNSUPPORTED,
                    () ->
                        RmsNorm.builder(4)
                            .input(FLOAT32)
                            .policy(NormPolicy.T5)
                            .vectorLevel(level)
                            .build())
                .getMessage();
        assertTrue(message.contains("best level"), message);
        refused++;
      }
    }
    assertTrue(refused > 0, "NEON and AVX2 are never on one machine");
  }
}
