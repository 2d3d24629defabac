package org.normcore;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The rotary part of published model configurations and of invalid ones. */
class RotaryConfigTest {
  private static RotarySpec.Builder spec(int headDim, double theta) {
    return RotarySpec.builder(headDim).theta(theta);
  }

  @Test
  void llama2() {
    String text =
        """
        {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096,
         "max_position_embeddings": 4096, "num_attention_heads": 32, "num_key_value_heads": 32,
         "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null, "vocab_size": 32000}
        """;
    assertEquals(spec(128, 10_000).build(), RotarySpec.fromConfig(text));
    assertEquals(spec(128, 10_000).build(), RotarySpec.fromConfig(text, "full_attention"));
  }

  private static final String LLAMA_31 =
      """
      {"model_type": "llama", "hidden_size": 4096, "max_position_embeddings": 131072,
       "num_attention_heads": 32, "num_key_value_heads": 8, "rope_scaling": {"factor": 8.0,
       "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
       "rope_type": "llama3"}, "rope_theta": 500000.0}
      """;

  @Test
  void llama31() {
    RotarySpec expected = spec(128, 500_000).scaling(RotaryScaling.llama3(8, 1, 4, 8192)).build();
    assertEquals(expected, RotarySpec.fromConfig(LLAMA_31));
    // In the format of transformers 5.
    assertEquals(
        expected,
        RotarySpec.fromConfig(
            """
            {"model_type": "llama", "head_dim": 128, "hidden_size": 4096,
             "max_position_embeddings": 131072, "num_attention_heads": 32, "rope_parameters":
             {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
             "original_max_position_embeddings": 8192, "rope_theta": 500000.0,
             "rope_type": "llama3"}}
            """));
  }

  @Test
  void filesAreReadAndNamedInErrors(@TempDir Path directory) throws IOException {
    Path file = directory.resolve("config.json");
    Files.writeString(file, LLAMA_31);
    assertEquals(RotarySpec.fromConfig(LLAMA_31), RotarySpec.fromConfig(file));
    assertEquals(RotarySpec.fromConfig(LLAMA_31), RotarySpec.fromConfig(file, null));
    Files.writeString(file, "{\"head_dim\": 1}");
    String message =
        assertThrows(IllegalArgumentException.class, () -> RotarySpec.fromConfig(file))
            .getMessage();
    assertTrue(message.startsWith(file + ": headDim: 1"), message);
    Path absent = directory.resolve("absent.json");
    assertThrows(NoSuchFileException.class, () -> RotarySpec.fromConfig(absent));
  }

  @Test
  void qwen25WithYarn() {
    String text =
        """
        {"model_type": "qwen2", "hidden_size": 3584, "num_attention_heads": 28,
         "max_position_embeddings": 32768, "rope_theta": 1000000.0, "sliding_window": 131072,
         "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 32768,
         "type": "yarn"}}
        """;
    RotarySpec spec = RotarySpec.fromConfig(text);
    assertEquals(spec(128, 1e6).scaling(RotaryScaling.yarn(4, 32768)).build(), spec);
    assertEquals(0.1 * Math.log(4) + 1, spec.attentionScaling(), 1e-15);
    // Without these two keys the values follow from the length of the embeddings.
    RotarySpec shorter =
        RotarySpec.fromConfig(
            text.replace("\"factor\": 4.0, ", "")
                .replace("32768, \"rope_theta\"", "131072, \"rope_theta\""));
    assertEquals(spec, shorter);
    assertEquals(
        spec,
        RotarySpec.fromConfig(text.replace("\"original_max_position_embeddings\": 32768,", "")));
  }

  private static String list(int length, double first) {
    return IntStream.range(0, length)
        .mapToObj(i -> String.valueOf(first + i))
        .collect(Collectors.joining(", ", "[", "]"));
  }

  private static double[] numbers(int length, double first) {
    return IntStream.range(0, length).mapToDouble(i -> first + i).toArray();
  }

  @ParameterizedTest
  @ValueSource(strings = {"longrope", "su", "yarn"})
  void phi3WithLongRope(String type) {
    String text =
        """
        {"model_type": "phi3", "hidden_size": 3072, "max_position_embeddings": 131072,
         "num_attention_heads": 32, "original_max_position_embeddings": 4096, "rope_scaling":
         {"long_factor": LONG, "short_factor": SHORT, "type": "TYPE"}, "rope_theta": 10000.0}
        """
            .replace("LONG", list(48, 1.5))
            .replace("SHORT", list(48, 1))
            .replace("TYPE", type);
    RotarySpec spec = RotarySpec.fromConfig(text);
    RotaryScaling expected = RotaryScaling.longRope(numbers(48, 1), numbers(48, 1.5), 4096, 131072);
    assertEquals(spec(96, 10_000).scaling(expected).build(), spec);
    assertEquals(Math.sqrt(1 + 5.0 / 12), spec.attentionScaling(), 1e-15);
  }

  /** Phi-4-mini rotates three quarters of a head; Phi-3.5-MoE gives the attention factor twice. */
  @Test
  void phi4MiniAndPhiMoe() {
    String text =
        """
        {"model_type": "phi3", "hidden_size": 3072, "max_position_embeddings": 131072,
         "num_attention_heads": 24, "original_max_position_embeddings": 4096,
         "partial_rotary_factor": 0.75, "rope_scaling": {"long_factor": LONG,
         "short_factor": SHORT, "type": "longrope"}, "rope_theta": 10000.0}
        """
            .replace("LONG", list(48, 1.5))
            .replace("SHORT", list(48, 1));
    RotarySpec spec = RotarySpec.fromConfig(text);
    assertEquals(128, spec.headDim());
    assertEquals(96, spec.rotaryDim());
    String moe =
        text.replace("\"type\"", "\"short_mscale\": 1.243, \"long_mscale\": 1.243, \"type\"");
    assertEquals(1.243, RotarySpec.fromConfig(moe).attentionScaling());
    assertRefused(
        moe.replace("\"long_mscale\": 1.243", "\"long_mscale\": 1.3"),
        null,
        "rope_scaling.long_mscale: 1.3",
        "1.243");
    assertRefused(text.replace("0.75", "0.5"), null, "shortFactor: 48 numbers", "expected 32");
  }

  @Test
  void gemma3() {
    RotarySpec global = spec(256, 1e6).scaling(RotaryScaling.linear(8)).build();
    RotarySpec local = spec(256, 10_000).build();
    String composite =
        """
        {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
         "text_config": {"hidden_size": 2560, "model_type": "gemma3_text",
         "num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
         "sliding_window": 1024}, "vision_config": {"hidden_size": 1152}}
        """;
    assertEquals(global, RotarySpec.fromConfig(composite, "full_attention"));
    assertEquals(local, RotarySpec.fromConfig(composite, "sliding_attention"));
    assertRefused(
        composite, null, "layerType: none", "full_attention or sliding_attention", "gemma3_text");
    assertRefused(composite, "global", "layerType: \"global\"", "sliding_attention");
    String text =
        """
        {"model_type": "gemma3_text", "head_dim": 256, "hidden_size": 1152,
         "num_attention_heads": 4, "rope_local_base_freq": 10000, "rope_scaling": null,
         "rope_theta": 1000000}
        """;
    assertEquals(spec(256, 1e6).build(), RotarySpec.fromConfig(text, "full_attention"));
    assertEquals(local, RotarySpec.fromConfig(text, "sliding_attention"));
    String nested =
        """
        {"model_type": "gemma3_text", "head_dim": 256, "layer_types": ["sliding_attention",
         "full_attention"], "rope_parameters": {"full_attention": {"factor": 8.0,
         "rope_theta": 1000000, "rope_type": "linear"}, "sliding_attention":
         {"rope_theta": 10000, "rope_type": "default"}}}
        """;
    assertEquals(global, RotarySpec.fromConfig(nested, "full_attention"));
    assertEquals(local, RotarySpec.fromConfig(nested, "sliding_attention"));
    assertRefused(
        nested, null, "layerType: none", "rope_parameters", "full_attention, sliding_attention");
    assertRefused(nested, "chunked_attention", "layerType: \"chunked_attention\"", "rope_param");
  }

  @Test
  void gemma4() {
    String text =
        """
        {"model_type": "gemma4_text", "head_dim": 256, "global_head_dim": 512, "hidden_size": 2560,
         "rope_parameters": {"full_attention": {"partial_rotary_factor": 0.25,
         "rope_theta": 1000000.0, "rope_type": "proportional"}, "sliding_attention":
         {"rope_theta": 10000.0, "rope_type": "default"}}}
        """;
    RotarySpec full = RotarySpec.fromConfig(text, "full_attention");
    assertEquals(spec(512, 1e6).scaling(RotaryScaling.proportional(1, 64)).build(), full);
    assertEquals(512, full.rotaryDim());
    assertEquals(0, full.inverseFrequencies()[64]);
    assertEquals(spec(256, 10_000).build(), RotarySpec.fromConfig(text, "sliding_attention"));
  }

  @Test
  void modernBert() {
    String text =
        """
        {"model_type": "modernbert", "hidden_size": 768, "num_attention_heads": 12,
         "global_rope_theta": 160000.0, "local_rope_theta": 10000.0}
        """;
    assertEquals(spec(64, 160_000).build(), RotarySpec.fromConfig(text, "full_attention"));
    assertEquals(spec(64, 10_000).build(), RotarySpec.fromConfig(text, "sliding_attention"));
    assertRefused(text, null, "layerType: none");
  }

  @Test
  void gptNeoX() {
    String text =
        """
        {"model_type": "gpt_neox", "hidden_size": 2048, "num_attention_heads": 8,
         "rotary_emb_base": 10000, "rotary_pct": 0.25, "max_position_embeddings": 2048}
        """;
    assertEquals(spec(256, 10_000).rotaryDim(64).build(), RotarySpec.fromConfig(text));
    assertEquals(
        spec(256, 10_000).rotaryDim(64).build(),
        RotarySpec.fromConfig(text.replace(", \"rotary_pct\": 0.25", "")));
    assertEquals(
        spec(256, 5000).rotaryDim(128).build(),
        RotarySpec.fromConfig(text.replace("10000", "5000").replace("0.25", "0.5")));
  }

  @Test
  void gptJ() {
    String text =
        """
        {"model_type": "gptj", "n_embd": 4096, "n_head": 16, "n_positions": 2048, "rotary": true,
         "rotary_dim": 64}
        """;
    assertEquals(spec(256, 10_000).rotaryDim(64).build(), RotarySpec.fromConfig(text));
    assertEquals(spec(256, 10_000).build(), RotarySpec.fromConfig(text.replace(": 64", ": null")));
    assertRefused(text.replace(": 64", ": 63"), null, "rotary_dim: 63", "even", "256");
    assertRefused(text.replace(": 64", ": 258"), null, "rotary_dim: 258");
  }

  @Test
  void deepSeekV3() {
    String text =
        """
        {"model_type": "deepseek_v3", "hidden_size": 7168, "max_position_embeddings": 163840,
         "num_attention_heads": 128, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
         "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0,
         "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096, "type": "yarn"},
         "rope_theta": 10000, "v_head_dim": 128}
        """;
    RotarySpec spec = RotarySpec.fromConfig(text);
    assertEquals(
        spec(64, 10_000)
            .scaling(RotaryScaling.Yarn.builder(40, 4096).mscale(1.0, 1.0).build())
            .build(),
        spec);
    assertEquals(1, spec.attentionScaling());
  }

  /** gpt-oss does not truncate; zeros and null mean the default betas. */
  @Test
  void yarnsOptions() {
    String text =
        """
        {"model_type": "gpt_oss", "head_dim": 64, "hidden_size": 2880,
         "max_position_embeddings": 131072, "num_attention_heads": 64, "layer_types":
         ["sliding_attention", "full_attention"], "rope_scaling": {"beta_fast": 32.0,
         "beta_slow": 1.0, "factor": 32.0, "original_max_position_embeddings": 4096,
         "rope_type": "yarn", "truncate": false}, "rope_theta": 150000}
        """;
    RotaryScaling.Yarn.Builder yarn = RotaryScaling.Yarn.builder(32, 4096).truncate(false);
    RotarySpec expected = spec(64, 150_000).scaling(yarn.build()).build();
    assertEquals(expected, RotarySpec.fromConfig(text));
    assertEquals(expected, RotarySpec.fromConfig(text, "sliding_attention"));
    assertRefused(text, "chunked_attention", "layerType: \"chunked_attention\"", "layer_types");
    assertEquals(
        expected, RotarySpec.fromConfig(text.replace("32.0,\n", "0,\n").replace("1.0", "null")));
    assertEquals(
        spec(64, 150_000).scaling(yarn.betas(16, 2).attentionFactor(1.5).build()).build(),
        RotarySpec.fromConfig(
            text.replace("32.0,\n", "16,\n")
                .replace("\"beta_slow\": 1.0", "\"beta_slow\": 2, \"attention_factor\": 1.5")));
  }

  @Test
  void dynamicUsesMaxPositionEmbeddings() {
    String text =
        """
        {"head_dim": 128, "max_position_embeddings": 2048, "rope_theta": 10000.0,
         "rope_scaling": {"type": "dynamic", "factor": 2.0}}
        """;
    assertEquals(
        spec(128, 10_000).scaling(RotaryScaling.dynamicNtk(2, 2048)).build(),
        RotarySpec.fromConfig(text));
    assertRefused(
        text.replace("2.0}", "1.0, \"alpha\": 1000.0}"), null, "rope_scaling.alpha: 1000.0");
  }

  /** Values in rope_parameters take precedence over top-level values; both may be absent. */
  @Test
  void ropeParametersTakePrecedence() {
    String text =
        """
        {"head_dim": 80, "partial_rotary_factor": 0.4, "rope_theta": 7.0, "rope_parameters":
         {"rope_type": "default", "partial_rotary_factor": 0.5, "rope_theta": 11.0}}
        """;
    assertEquals(spec(80, 11).rotaryDim(40).build(), RotarySpec.fromConfig(text));
    assertEquals(
        spec(80, 7).rotaryDim(32).build(),
        RotarySpec.fromConfig(
            text.replace(", \"partial_rotary_factor\": 0.5, \"rope_theta\": 11.0", "")));
    assertEquals(
        spec(80, 10_000).build(),
        RotarySpec.fromConfig("{\"head_dim\": 80, \"rope_scaling\": {}}"));
    assertEquals(
        spec(80, 10_000).build(),
        RotarySpec.fromConfig(
            """
            {"head_dim": null, "hidden_size": 161, "num_attention_heads": 2,
             "partial_rotary_factor": null, "rotary_dim": null}
            """));
    assertEquals(
        spec(128, 1e6).build(),
        RotarySpec.fromConfig(
            """
            {"head_dim": 128, "rope_theta": 1000000.0, "rope_scaling": {"type": "mrope",
             "mrope_section": [16, 24, 24]}, "time_step_limit": [0.0, Infinity]}
            """));
  }

  private static void assertRefused(String json, String layerType, String... parts) {
    String message =
        assertThrows(IllegalArgumentException.class, () -> RotarySpec.fromConfig(json, layerType))
            .getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }

  @Test
  void unknownTypesListTheKnownOnes() {
    String text = "{\"head_dim\": 64, \"rope_scaling\": {\"KEY\": \"ntk-by-magic\"}}";
    for (String key : new String[] {"rope_type", "type"}) {
      assertRefused(
          text.replace("KEY", key),
          null,
          "rope_scaling." + key + ": \"ntk-by-magic\"",
          "default, linear, dynamic, llama3, yarn, longrope, su, proportional or mrope");
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "factor | `null` | missing",
        "factor | `\"8\"` | \"8\"; expected a finite number",
        "factor | true | true; expected a finite number",
        "factor | [8] | [8]; expected a finite number",
        "factor | 1e999 | 1e999; expected a finite number",
        "factor | NaN | expected a finite number",
        "factor | 0 | factor: 0.0",
        "factor | -8 | factor: -8.0",
        "low_freq_factor | `null` | missing",
        "high_freq_factor | 1 | highFreqFactor: 1.0",
        "original_max_position_embeddings | 0 | originalMaxPositions: 0",
        "original_max_position_embeddings | 8192.5 | 8192.5; expected a whole number",
        "original_max_position_embeddings | -1 | -1; expected a whole number",
        "original_max_position_embeddings | 1e300 | 1e300; expected a whole number",
        "rope_type | 7 | 7; expected a string",
        "rope_theta | 0 | theta: 0.0",
        "rope_theta | {} | {}; expected a finite number"
      })
  void wrongValuesAreNamed(String key, String value, String expected) {
    String text =
        """
        {"head_dim": 128, "rope_parameters": {"factor": 8.0, "low_freq_factor": 1.0,
         "high_freq_factor": 4.0, "original_max_position_embeddings": 8192, "rope_theta": 5e5,
         "rope_type": "llama3"}, "max_position_embeddings": 0}
        """;
    RotarySpec.fromConfig(text);
    String wrong = text.replaceFirst("\"" + key + "\": [^,}]*", "\"" + key + "\": " + value);
    String name = expected.contains(": ") ? "" : "rope_parameters." + key + ": ";
    if (key.equals("original_max_position_embeddings") && value.equals("null")) {
      assertRefused(wrong, null, "originalMaxPositions");
    } else {
      assertRefused(wrong, null, name, expected);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "`` | not a JSON object",
        "`[]` | not a JSON object",
        "`12` | not a JSON object",
        "`{` | not JSON",
        "`{} {}` | not a JSON object",
        "`{}` | num_attention_heads: missing",
        "`{\"num_attention_heads\": 0, \"hidden_size\": 64}` | hidden_size: heads of 0",
        "`{\"num_attention_heads\": 8}` | hidden_size: missing",
        "`{\"num_attention_heads\": 8, \"hidden_size\": 12}` | hidden_size: heads of 1",
        "`{\"head_dim\": 64.5}` | head_dim: 64.5; expected a whole number",
        "`{\"head_dim\": 1e9}` | head_dim: 1e9",
        "`{\"head_dim\": \"64\"}` | head_dim: \"64\"",
        "`{\"head_dim\": 63}` | 63; expected an even number",
        "`{\"head_dim\": 64, \"rope_scaling\": 3}` | rope_scaling: 3; expected an object",
        "`{\"head_dim\": 64, \"rope_parameters\": \"x\"}` | rope_parameters: \"x\"; expected",
        "`{\"head_dim\": 64, \"text_config\": []}` | text_config: []; expected an object",
        "`{\"head_dim\": 64, \"model_type\": 1}` | model_type: 1; expected a string",
        "`{\"head_dim\": 64, \"partial_rotary_factor\": 0}` | partial_rotary_factor: 0.0",
        "`{\"head_dim\": 64, \"partial_rotary_factor\": 1.5}` | partial_rotary_factor: 1.5",
        "`{\"head_dim\": 64, \"rotary_pct\": 0.05}` | is 3; expected an even number",
        "`{\"head_dim\": 64, \"rope_scaling\": {\"type\": \"yarn\"}}` | max_position_embeddings:"
            + " missing",
        "`{\"head_dim\": 4, \"max_position_embeddings\": 9, \"rope_scaling\": {\"type\": \"su\","
            + " \"short_factor\": [1, 2], \"long_factor\": [1, \"2\"]}}` |"
            + " rope_scaling.long_factor[1]: \"2\"",
        "`{\"head_dim\": 4, \"max_position_embeddings\": 9, \"rope_scaling\": {\"type\": \"su\","
            + " \"short_factor\": [1, 2], \"long_factor\": 2}}` | long_factor: 2; expected a list",
        "`{\"head_dim\": 4, \"max_position_embeddings\": 9, \"rope_scaling\": {\"type\": \"su\","
            + " \"short_factor\": [1, 2], \"long_factor\": [1, 0]}}` | longFactor[1]: 0.0",
        "`{\"head_dim\": 4, \"max_position_embeddings\": 9, \"rope_scaling\": {\"type\":"
            + " \"yarn\", \"truncate\": 1}}` | rope_scaling.truncate: 1; expected true or false"
      })
  void wrongDocumentsAreRefused(String text, String expected) {
    assertRefused(text, null, expected);
  }

  @Test
  void hostileDocumentsAreRefusedQuickly() {
    assertRefused("{\"a\":".repeat(100_000), null, "not JSON");
    assertRefused("{\"head_dim\": 1e1000000000}", null, "head_dim");
    assertRefused(
        "{\"head_dim\": " + "9".repeat(100_000) + "}", null, "head_dim: ", "999..; expected");
    char[] zeros = new char[100_000];
    Arrays.fill(zeros, '\0');
    assertRefused(new String(zeros), null, "config: not a JSON object");
    assertThrows(NullPointerException.class, () -> RotarySpec.fromConfig((String) null));
  }
}
