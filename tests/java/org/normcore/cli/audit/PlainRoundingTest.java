package org.normcore.cli.audit;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.normcore.DType;
import org.normcore.TensorView;

class PlainRoundingTest {
  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void agreesWithTheLibrarysConversion(DType dtype) {
    int count = 200_000;
    double[] values = new double[count];
    Random random = new Random(7);
    for (int i = 0; i < count; i++) {
      float any = Float.intBitsToFloat(random.nextInt());
      values[i] = Float.isNaN(any) ? 0 : any;
    }
    // Ties and the values next to them.
    for (int i = 0; i < count / 2; i++) {
      float tie = Float.intBitsToFloat((random.nextInt() & 0xbfff_8000) | 0x8000);
      values[i] = Float.isFinite(tie) ? tie + (i % 3 - 1) * 1e-12 * tie : 1;
    }
    TensorView rounded = new Arena().empty(dtype, count).copyFrom(values);
    double[] expected = rounded.toDoubles();
    PlainRounding rounding = new PlainRounding(dtype);
    for (int i = 0; i < count; i++) {
      assertEquals(expected[i], rounding.round(values[i]), "the rounded value of " + values[i]);
    }
  }

  @Test
  void tiesGoToEven() {
    PlainRounding rounding = new PlainRounding(DType.BFLOAT16);
    assertEquals(1.0f, rounding.round(1 + 0x1p-8f));
    assertEquals(1 + 0x1p-6f, rounding.round(1 + 0x3p-8f));
    assertEquals(Float.POSITIVE_INFINITY, rounding.round(Float.MAX_VALUE));
    assertEquals(65504f, new PlainRounding(DType.FLOAT16).round(65519.996f));
    assertEquals(Float.NEGATIVE_INFINITY, new PlainRounding(DType.FLOAT16).round(-65520f));
    assertEquals(0x1p-24f, new PlainRounding(DType.FLOAT16).round(0x1.8p-25f));
  }
}
