package org.normcore.cli.audit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.primitives.ImmutableLongArray;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.normcore.cli.safetensors.StoredType;
import org.normcore.cli.safetensors.TensorEntry;

class NormFinderTest {
  @ParameterizedTest
  @ValueSource(
      strings = {
        "model.norm.weight",
        "model.layers.0.input_layernorm.weight",
        "model.layers.0.post_attention_layernorm.weight",
        "model.layers.0.self_attn.q_norm.weight",
        "model.layers.0.self_attn.k_norm.weight",
        "gpt_neox.final_layer_norm.weight",
        "h.0.ln_1.weight",
        "ln_f.weight",
        "encoder.block.0.layer.0.layer_norm.weight",
        "bert.embeddings.LayerNorm.gamma",
        "vision.blocks.0.norm1.weight",
        "model.layers.3.ffn_norm.scale",
      })
  void normsAreFound(String name) {
    assertEquals(1, NormFinder.find(tensors(name, 8)).size());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "model.layers.0.mlp.up_proj.bias",
        "model.embed_tokens.weight",
        "features.0.batch_norm.weight",
        "features.0.group_norm.weight",
        "linear.weight",
        "model.norm.running_mean",
        "norm",
      })
  void otherTensorsAreNot(String name) {
    assertTrue(NormFinder.find(tensors(name, 8)).isEmpty());
  }

  @Test
  void ignoresMatricesIntegersAndBatchNorms() {
    assertTrue(NormFinder.find(tensors("model.norm.weight", 8, 8)).isEmpty());
    Map<String, TensorEntry> batch = tensors("bn.norm.weight", 8);
    batch.putAll(tensors("bn.norm.running_mean", 8));
    assertTrue(NormFinder.find(batch).isEmpty());
    TensorEntry integers =
        new TensorEntry("model.norm.weight", StoredType.I64, ImmutableLongArray.of(8), 0, 64);
    assertTrue(NormFinder.find(Map.of("model.norm.weight", integers)).isEmpty());
  }

  @Test
  void biasesBelongToTheirWeights() {
    Map<String, TensorEntry> tensors = tensors("a.LayerNorm.gamma", 8);
    tensors.putAll(tensors("a.LayerNorm.beta", 8));
    NormModule norm = NormFinder.find(tensors).get(0);
    assertEquals("a.LayerNorm", norm.name());
    assertEquals("a.LayerNorm.beta", norm.bias().orElseThrow());
    assertEquals(8, norm.hiddenSize());
  }

  @Test
  void layersAreSortedNumerically() {
    Map<String, TensorEntry> tensors = tensors("layers.10.norm.weight", 8);
    tensors.putAll(tensors("layers.9.norm.weight", 8));
    assertEquals(
        List.of("layers.9.norm", "layers.10.norm"),
        NormFinder.find(tensors).stream().map(NormModule::name).toList());
  }

  private static Map<String, TensorEntry> tensors(String name, long... shape) {
    long elements = 1;
    for (long size : shape) {
      elements *= size;
    }
    Map<String, TensorEntry> tensors = new LinkedHashMap<>();
    tensors.put(
        name,
        new TensorEntry(name, StoredType.F32, ImmutableLongArray.copyOf(shape), 0, 4 * elements));
    return tensors;
  }
}
