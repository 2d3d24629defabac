package org.normcore;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.FLOAT8_E4M3;
import static org.normcore.DType.FLOAT8_E5M2;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class Fp8SpecTest {
  private static void assertRefused(Fp8Spec.Builder builder, String... parts) {
    String message = assertThrows(IllegalArgumentException.class, builder::build).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
    assertTrue(message.contains("expected"), message);
  }

  @Test
  void builderDefaults() {
    Fp8Spec spec = Fp8Spec.builder(FLOAT8_E4M3).build();
    assertEquals(FLOAT8_E4M3, spec.format());
    assertEquals(Fp8Recipe.CURRENT, spec.recipe());
    assertEquals(Fp8Scaling.TENSOR, spec.scaling());
    assertEquals(0, spec.margin());
    assertFalse(spec.powerOfTwo());
    assertTrue(Float.isNaN(spec.givenScale()));
    assertEquals(0, spec.historyLength());
    assertEquals(InitialValue.DISCARD, spec.initialValue());
  }

  @Test
  void builderSetsEveryComponent() {
    Fp8Spec spec =
        Fp8Spec.builder(FLOAT8_E5M2)
            .delayedScaling(16)
            .margin(3)
            .powerOfTwo(true)
            .initialValue(InitialValue.KEEP_UNTIL_CLEARED)
            .build();
    assertEquals(FLOAT8_E5M2, spec.format());
    assertEquals(Fp8Recipe.DELAYED, spec.recipe());
    assertEquals(16, spec.historyLength());
    assertEquals(3, spec.margin());
    assertTrue(spec.powerOfTwo());
    assertEquals(InitialValue.KEEP_UNTIL_CLEARED, spec.initialValue());
    assertEquals(0.25f, Fp8Spec.builder(FLOAT8_E5M2).givenScale(0.25f).build().givenScale());
    assertEquals(Fp8Scaling.BLOCK, Fp8Spec.builder(FLOAT8_E5M2).mxfp8().build().scaling());
  }

  /** The last recipe wins and drops the settings of earlier recipes. */
  @Test
  void lastRecipeWins() {
    Fp8Spec.Builder builder = Fp8Spec.builder(FLOAT8_E4M3).delayedScaling(4).givenScale(2);
    assertEquals(Fp8Recipe.GIVEN, builder.build().recipe());
    assertEquals(0, builder.build().historyLength());
    assertEquals(Fp8Recipe.MXFP8, builder.mxfp8().build().recipe());
    assertTrue(Float.isNaN(builder.build().givenScale()));
    assertEquals(Fp8Recipe.CURRENT, builder.currentScaling().build().recipe());
  }

  @ParameterizedTest
  @EnumSource
  void equalityAndBuildersOfSpecs(InitialValue initialValue) {
    List<Fp8Spec> all =
        List.of(
            Fp8Spec.builder(FLOAT8_E4M3).initialValue(initialValue).build(),
            Fp8Spec.builder(FLOAT8_E5M2).initialValue(initialValue).build(),
            Fp8Spec.builder(FLOAT8_E4M3).margin(64).initialValue(initialValue).build(),
            Fp8Spec.builder(FLOAT8_E4M3).powerOfTwo(true).initialValue(initialValue).build(),
            Fp8Spec.builder(FLOAT8_E4M3).givenScale(3).initialValue(initialValue).build(),
            Fp8Spec.builder(FLOAT8_E4M3).delayedScaling(1).initialValue(initialValue).build(),
            Fp8Spec.builder(FLOAT8_E4M3).delayedScaling(2).initialValue(initialValue).build(),
            Fp8Spec.builder(FLOAT8_E4M3).mxfp8().initialValue(initialValue).build());
    for (int i = 0; i < all.size(); i++) {
      for (int j = 0; j < all.size(); j++) {
        if (i == j) {
          assertEquals(all.get(i), all.get(i).toBuilder().build());
          assertEquals(all.get(i).hashCode(), all.get(i).toBuilder().build().hashCode());
        } else {
          assertNotEquals(all.get(i), all.get(j));
        }
      }
    }
  }

  @Test
  void inconsistentComponentsAreRefused() {
    for (DType dtype : DType.values()) {
      if (!dtype.isFp8()) {
        assertRefused(Fp8Spec.builder(dtype), "format: " + dtype, "FLOAT8_E4M3");
      }
    }
    for (int margin : new int[] {Integer.MIN_VALUE, -1, 65, Integer.MAX_VALUE}) {
      assertRefused(Fp8Spec.builder(FLOAT8_E4M3).margin(margin), "margin: " + margin, "0 to 64");
    }
    for (int length : new int[] {Integer.MIN_VALUE, 0, 65_537}) {
      assertRefused(
          Fp8Spec.builder(FLOAT8_E4M3).delayedScaling(length),
          "historyLength: " + length,
          "1 to 65536");
    }
    for (float scale :
        new float[] {
          0, -1, Float.MIN_VALUE, Float.POSITIVE_INFINITY, Float.NaN, -Float.MAX_VALUE, -0f
        }) {
      assertRefused(Fp8Spec.builder(FLOAT8_E4M3).givenScale(scale), "givenScale: " + scale);
    }
    assertEquals(
        Float.MAX_VALUE,
        Fp8Spec.builder(FLOAT8_E4M3).givenScale(Float.MAX_VALUE).build().givenScale());
    for (Fp8Spec.Builder builder :
        List.of(Fp8Spec.builder(FLOAT8_E4M3).givenScale(1), Fp8Spec.builder(FLOAT8_E4M3).mxfp8())) {
      assertRefused(builder.margin(1), "margin: 1");
      assertRefused(builder.margin(0).powerOfTwo(true), "powerOfTwo: true");
      builder.powerOfTwo(false).build();
    }
    assertThrows(
        IllegalArgumentException.class,
        () -> new Fp8Spec(FLOAT8_E4M3, Fp8Recipe.CURRENT, 0, false, 1f, 0, InitialValue.DISCARD));
    assertThrows(
        IllegalArgumentException.class,
        () ->
            new Fp8Spec(
                FLOAT8_E4M3, Fp8Recipe.MXFP8, 0, false, Float.NaN, 1, InitialValue.DISCARD));
    assertThrows(NullPointerException.class, () -> Fp8Spec.builder(null));
    assertThrows(NullPointerException.class, () -> Fp8Spec.builder(FLOAT8_E4M3).initialValue(null));
  }
}
