package org.normcore;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT16;
import static org.normcore.DType.FLOAT32;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.junit.jupiter.api.Test;

class NormPolicyTest {
  @Test
  void presetNamesMatchConstants() throws IllegalAccessException {
    List<String> constants = new ArrayList<>();
    for (Field field : NormPolicy.class.getDeclaredFields()) {
      if (Modifier.isPublic(field.getModifiers()) && field.getType() == NormPolicy.class) {
        constants.add(field.getName());
        NormPolicy policy = (NormPolicy) field.get(null);
        assertEquals(field.getName(), policy.name());
        assertSame(policy, NormPolicy.presets().get(field.getName()));
        assertTrue(policy.toString().startsWith(field.getName() + "("), policy.toString());
        assertEquals(VarianceAlgorithm.TWO_PASS, policy.variance());
        assertEquals(ComputeType.FLOAT32, policy.compute());
        assertEquals(ResidualRounding.INPUT, policy.residualRounding());
      }
    }
    assertEquals(constants, List.copyOf(NormPolicy.presets().keySet()));
    assertEquals(
        List.of(
            "TRANSFORMER_ENGINE",
            "TRANSFORMER_ENGINE_ZERO_CENTERED",
            "HUGGING_FACE_LLAMA",
            "T5",
            "GEMMA",
            "PYTORCH",
            "LAYER_NORM_1P",
            "DEBERTA",
            "ONEFLOW",
            "ONNX"),
        constants);
  }

  /**
   * Every combination: getters return the set values, and only policies with equal values are
   * equal.
   */
  @Test
  void valuesAreKeptAndCompared() {
    List<NormPolicy> all = new ArrayList<>();
    Set<String> names = new HashSet<>();
    for (ScaleRounding rounding : ScaleRounding.values()) {
      for (GammaOffset offset : GammaOffset.values()) {
        for (VarianceAlgorithm variance : VarianceAlgorithm.values()) {
          for (ComputeType compute : ComputeType.values()) {
            for (ResidualRounding residual : ResidualRounding.values()) {
              NormPolicy policy =
                  NormPolicy.builder(rounding)
                      .gammaOffset(offset)
                      .variance(variance)
                      .compute(compute)
                      .residualRounding(residual)
                      .build();
              assertEquals(rounding, policy.scaleRounding());
              assertEquals(offset, policy.gammaOffset());
              assertEquals(variance, policy.variance());
              assertEquals(compute, policy.compute());
              assertEquals(residual, policy.residualRounding());
              NormPolicy copy = policy.toBuilder().build();
              assertEquals(policy, copy);
              assertEquals(policy.hashCode(), copy.hashCode());
              assertEquals(policy.name(), copy.name());
              assertTrue(names.add(policy.name()), policy.name());
              all.forEach(other -> assertNotEquals(other, policy));
              all.add(policy);
            }
          }
        }
      }
    }
    assertEquals(108, all.size());
    assertEquals(
        "INPUT+ONE_IN_COMPUTE",
        NormPolicy.GEMMA.toBuilder().scaleRounding(ScaleRounding.INPUT).build().name());
    assertEquals(NormPolicy.PYTORCH, NormPolicy.TRANSFORMER_ENGINE);
    assertFalse(NormPolicy.PYTORCH.equals(new Object()));
    assertThrows(NullPointerException.class, () -> NormPolicy.builder(null));
  }

  @Test
  void outputDTypeMatchesFrameworks() {
    NormPolicy compute = NormPolicy.PYTORCH;
    NormPolicy input = NormPolicy.HUGGING_FACE_LLAMA;
    NormPolicy weight = NormPolicy.T5;
    for (DType i : List.of(DType.FLOAT64, FLOAT32, BFLOAT16, FLOAT16)) {
      for (DType w : List.of(DType.FLOAT64, FLOAT32, BFLOAT16, FLOAT16)) {
        assertEquals(i, compute.outputDType(i, w));
        assertEquals(DType.promote(i, w), input.outputDType(i, w));
        assertEquals(w, weight.outputDType(i, w));
        try (RmsNorm norm = RmsNorm.builder(4).input(i).weight(w).policy(input).build()) {
          assertEquals(DType.promote(i, w), norm.outputDType());
        }
      }
    }
    assertEquals(FLOAT32, input.outputDType(BFLOAT16, FLOAT16));
  }

  /** Reads the table with an independent reader and compares every field of every line. */
  @Test
  void modelTypesMatchTheTable() throws IOException {
    List<String> types = new ArrayList<>();
    try (BufferedReader reader =
        new BufferedReader(
            new InputStreamReader(
                Objects.requireNonNull(
                    ModelType.class.getResourceAsStream("/org/normcore/model_types.tsv")),
                StandardCharsets.UTF_8))) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        if (line.isEmpty() || line.startsWith("#") || line.startsWith("model_type\t")) {
          continue;
        }
        String[] fields = line.split("\t", -1);
        ModelType type = ModelType.of(fields[0]);
        assertEquals(fields[0], type.modelType());
        assertEquals(
            fields[1].equals("rms") ? NormKind.RMS_NORM : NormKind.LAYER_NORM, type.norm());
        assertEquals(fields[2], type.policyName());
        assertEquals(fields[2], type.policy().name());
        assertSame(type.policy(), NormPolicy.forModelType(fields[0]));
        assertEquals(fields[3].contains("w"), type.affine().hasWeight(), line);
        assertEquals(fields[3].contains("b"), type.affine().hasBias(), line);
        assertEquals(fields[4].equals("-") ? "" : fields[4], String.join(",", type.epsilonKeys()));
        assertEquals(Double.parseDouble(fields[5]), type.defaultEpsilon());
        assertTrue(type.defaultEpsilon() > 0 && type.defaultEpsilon() < 1e-2, line);
        assertEquals(fields[6], type.source());
        assertSame(type, ModelType.find(fields[0]).orElseThrow());
        types.add(fields[0]);
      }
    }
    assertEquals(types, List.copyOf(ModelType.all().keySet()));
    assertTrue(
        types.containsAll(List.of("llama", "qwen3", "gemma", "t5", "bert")), types.toString());
    assertEquals(NormPolicy.HUGGING_FACE_LLAMA, NormPolicy.forModelType("qwen3"));
    assertEquals(GammaOffset.ONE_IN_COMPUTE, NormPolicy.forModelType("gemma2").gammaOffset());
  }

  @Test
  void unknownModelTypesSuggestTheNearest() {
    String message =
        assertThrows(IllegalArgumentException.class, () -> NormPolicy.forModelType("lama"))
            .getMessage();
    assertTrue(message.contains("\"lama\"") && message.contains("llama"), message);
    assertTrue(ModelType.find("lama").isEmpty());
    assertThrows(IllegalArgumentException.class, () -> ModelType.of(""));
  }

  @Test
  void devices() {
    assertTrue(Device.CPU.isCpu());
    assertFalse(Device.cuda(2).isCpu());
    assertEquals(Device.cuda(2), Device.cuda(2));
    assertNotEquals(Device.cuda(2), Device.cuda(1));
    assertEquals("cuda:2", Device.cuda(2).toString());
    assertThrows(IllegalArgumentException.class, () -> Device.cuda(-1));
  }

  @Test
  void levelsAndVersion() {
    assertTrue(VectorLevel.BEST.isSupported());
    assertTrue(VectorLevel.PLAIN.isSupported());
    assertTrue(VectorLevel.best().isSupported());
    assertNotEquals(VectorLevel.BEST, VectorLevel.best());
    assertTrue(Normcore.version().matches("\\d+\\.\\d+\\.\\d+"), Normcore.version());
  }
}
