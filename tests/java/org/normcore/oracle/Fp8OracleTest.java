package org.normcore.oracle;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.SplittableRandom;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.normcore.DType;
import org.normcore.Fp8Parameter;
import org.normcore.Fp8Spec;
import org.normcore.NativeBuffer;
import org.normcore.TensorView;

/**
 * Quantised bits against PyTorch's: {@code (x.float() * scale).to(torch.float8_e4m3fn)}, and back.
 * Within the format's range all bits agree. Beyond it PyTorch gives NaN in E4M3 and infinity in
 * E5M2, where Normcore saturates; the test excludes these values.
 */
class Fp8OracleTest {
  private static final int COUNT = 1 << 16;

  private static ScalarType type(DType format) {
    return format == DType.FLOAT8_E4M3 ? ScalarType.Float8_e4m3fn : ScalarType.Float8_e5m2;
  }

  @ParameterizedTest
  @CsvSource({
    "FLOAT8_E4M3, FLOAT32", "FLOAT8_E4M3, BFLOAT16", "FLOAT8_E4M3, FLOAT16",
    "FLOAT8_E5M2, FLOAT32", "FLOAT8_E5M2, BFLOAT16", "FLOAT8_E5M2, FLOAT16",
  })
  void bitsAreThoseOfPyTorch(DType format, DType dtype) {
    double largest = format == DType.FLOAT8_E4M3 ? 448 : 57344;
    try (NativeBuffer buffer = NativeBuffer.allocate(dtype, COUNT);
        NativeBuffer back = NativeBuffer.allocate(dtype, COUNT)) {
      TensorView x = fill(buffer, dtype, largest);
      TensorView target = back.view(dtype, COUNT);
      for (float scale : new float[] {0, 1, 0.7f, 1 / 3f}) {
        Fp8Spec.Builder builder = Fp8Spec.builder(format);
        Fp8Spec spec = (scale == 0 ? builder : builder.givenScale(scale)).build();
        try (Fp8Parameter parameter = Fp8Parameter.quantize(x, spec)) {
          float used = parameter.scale().toFloats()[0];
          float inverse = parameter.scaleInv().toFloats()[0];
          parameter.dequantize(target);
          Torch.scoped(
              () -> {
                Tensor wide = Torch.copy(x).to(ScalarType.Float);
                Tensor q = wide.mul(new Scalar(used)).to(type(format));
                assertArrayEquals(bytes(q), parameter.data().toBytes(), spec.toString());
                Tensor v = q.to(ScalarType.Float).mul(new Scalar(inverse)).to(Torch.type(dtype));
                assertArrayEquals(
                    Torch.view(v, dtype, COUNT).toFloats(), target.toFloats(), spec.toString());
              });
        }
      }
      // The scale itself: PyTorch's amax, and its float32 division.
      try (Fp8Parameter parameter = Fp8Parameter.quantize(x, Fp8Spec.builder(format).build())) {
        Torch.scoped(
            () -> {
              Tensor amax = Torch.copy(x).to(ScalarType.Float).abs().max();
              assertEquals(amax.item_float(), parameter.amax().toFloats()[0]);
              Tensor scale = amax.reciprocal().mul(new Scalar(largest));
              float expected = (float) largest / amax.item_float();
              assertEquals(expected, parameter.scale().toFloats()[0]);
              // PyTorch's reciprocal rounds once more: at most a unit in the last place.
              assertEquals(expected, scale.item_float(), Math.ulp(expected));
            });
      }
    }
  }

  private static byte[] bytes(Tensor q) {
    Tensor codes = q.view(ScalarType.Byte).contiguous();
    return TensorView.of(codes.data_ptr(), DType.FLOAT8_E4M3, COUNT).withOwner(codes).toBytes();
  }

  /**
   * Every bit pattern within range of a 16-bit dtype, or the same number of float32 values of all
   * sizes.
   */
  private static TensorView fill(NativeBuffer buffer, DType dtype, double largest) {
    TensorView view = buffer.view(dtype, COUNT);
    if (dtype == DType.FLOAT32) {
      SplittableRandom random = new SplittableRandom(3);
      float[] values = new float[COUNT];
      for (int i = 0; i < COUNT; i++) {
        double magnitude = Math.pow(2, random.nextDouble(-20, Math.log(largest) / Math.log(2)));
        values[i] = (float) (random.nextBoolean() ? magnitude : -magnitude);
      }
      return view.copyFrom(values);
    }
    ByteBuffer bits = buffer.asByteBuffer().order(ByteOrder.nativeOrder());
    for (int i = 0; i < COUNT; i++) {
      bits.putShort(2 * i, (short) i);
    }
    float[] values = view.toFloats();
    for (int i = 0; i < COUNT; i++) {
      if (!(Math.abs(values[i]) <= largest)) {
        bits.putShort(2 * i, (short) 0);
      }
    }
    return view;
  }
}
