package org.normcore.oracle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.google.gson.JsonObject;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.normcore.DType;
import org.normcore.NativeBuffer;
import org.normcore.TensorView;
import org.normcore.cli.CommandRun;
import org.normcore.cli.safetensors.SafetensorsWriter;

/**
 * The guide's steps to check a user's stack. The JavaCPP build of PyTorch writes a file with the
 * same names, shapes and dtypes, because the Python here may lack PyTorch.
 */
class ParityKitTest {
  private static final Pattern NAME = Pattern.compile("(\\w+)=(?=[\\w.]+[,)])");
  private static final long ROWS = 64;
  private static final long HIDDEN = 4096;

  private static String guide;

  @TempDir private Path directory;

  @BeforeAll
  static void readGuide() throws IOException {
    guide = Files.readString(Path.of("src/site/markdown/check-your-stack.md"));
  }

  private static String block(String language) {
    String fence = "```" + language + "\n";
    int begin = guide.indexOf(fence) + fence.length();
    return guide.substring(begin, guide.indexOf("```", begin));
  }

  @Test
  void guideProgramIsValidPython() throws IOException, InterruptedException {
    assertEquals(10, block("python").lines().count());
    assumeTrue(hasPython(), "no Python");
    assertEquals(0, python("-c", "compile(open('stack.py').read(), 'stack.py', 'exec')"));
  }

  @Test
  void commandMatchesGuideProgram() throws IOException, InterruptedException {
    assumeTrue(
        hasPython() && python("-c", "import torch, safetensors") == 0, "no PyTorch in Python");
    assertEquals(0, python("stack.py"));
    assertParity(run(directory.resolve("stack.safetensors"), "pytorch"));
  }

  private boolean hasPython() throws InterruptedException {
    try {
      return python("-c", "") == 0;
    } catch (IOException e) {
      return false;
    }
  }

  private int python(String... args) throws IOException, InterruptedException {
    Files.writeString(directory.resolve("stack.py"), block("python"));
    List<String> command = new ArrayList<>(List.of("python3"));
    command.addAll(List.of(args));
    return new ProcessBuilder(command)
        .directory(directory.toFile())
        .redirectErrorStream(true)
        .redirectOutput(new File("/dev/null"))
        .start()
        .waitFor();
  }

  @Test
  void commandMatchesPyTorch() throws IOException {
    assertParity(run(write(Torch::rmsNorm), "pytorch"));
  }

  @Test
  void commandDetectsWrongPolicy() throws IOException {
    Path stack = write(Torch::llama);
    assertParity(run(stack, "hugging-face-llama"));
    JsonObject other = run(stack, "pytorch");
    assertTrue(share(other, "y") > 0.2, other.toString());
    assertTrue(other.getAsJsonObject("y").has("first_difference"), other.toString());
  }

  /** The tolerances are those of {@link PolicyOracleTest}. */
  private static void assertParity(JsonObject tensors) {
    assertEquals(3, tensors.size(), tensors.toString());
    assertTrue(share(tensors, "y") <= 0.0002, tensors.toString());
    assertTrue(share(tensors, "dx") <= 0.0002, tensors.toString());
    assertTrue(share(tensors, "dweight") <= 0.005, tensors.toString());
    assertTrue(tensors.getAsJsonObject("y").get("max_ulp").getAsLong() <= 2, tensors.toString());
  }

  private static double share(JsonObject tensors, String name) {
    return tensors.getAsJsonObject(name).get("differing").getAsDouble();
  }

  /** Runs the command of the guide with a policy and returns the comparison of the tensors. */
  private JsonObject run(Path stack, String policy) {
    String command = block("sh").replace("\\\n", " ").strip();
    String start = "java -jar target/normcore-cli.jar ";
    assertTrue(command.startsWith(start), command);
    assertTrue(command.contains("--policy pytorch "), command);
    List<Object> words = new ArrayList<>();
    for (String word : command.substring(start.length()).split("\\s+")) {
      words.add(word.equals("stack.safetensors") ? stack : word.equals("pytorch") ? policy : word);
    }
    CommandRun text = CommandRun.succeeding(words.toArray());
    for (String column : List.of("compared", "equal", "max ulp", "first difference", ", ulp 0: ")) {
      assertTrue(text.out().contains(column), text.out());
    }
    words.add("--json");
    return CommandRun.succeeding(words.toArray())
        .json()
        .getAsJsonObject("expect")
        .getAsJsonObject("tensors");
  }

  /** The file that the guide's Python code would write with a norm of that sequence. */
  private Path write(Torch.Sequence sequence) throws IOException {
    Random random = new Random(0);
    TensorView x = gaussian(random, 0, 1, ROWS, HIDDEN);
    TensorView weight = gaussian(random, 1, 0.1, HIDDEN);
    TensorView dy = gaussian(random, 0, 1, ROWS, HIDDEN);
    Map<String, TensorView> all = new LinkedHashMap<>();
    Torch.scoped(
        () -> {
          Tensor input = Torch.leaf(x);
          Tensor scale = Torch.leaf(weight);
          Tensor hidden = input.to(Torch.type(DType.FLOAT32));
          Tensor y = sequence.apply(input, hidden, scale, null, 1e-5);
          Torch.backward(y, Torch.copy(dy));
          all.put("x", x);
          all.put("weight", weight);
          all.put("dy", dy);
          all.put("y", copy(y, ROWS, HIDDEN));
          all.put("dx", copy(input.grad(), ROWS, HIDDEN));
          all.put("dweight", copy(scale.grad(), HIDDEN));
        });
    Matcher names = NAME.matcher(block("python").lines().skip(8).findFirst().orElseThrow());
    assertEquals(List.copyOf(all.keySet()), names.results().map(name -> name.group(1)).toList());
    Path file = directory.resolve("torch.safetensors");
    SafetensorsWriter.write(file, all);
    return file;
  }

  private static TensorView gaussian(Random random, double mean, double deviation, long... shape) {
    TensorView view = NativeBuffer.allocate(DType.BFLOAT16, shape).view(DType.BFLOAT16, shape);
    double[] values = new double[Math.toIntExact(view.elements())];
    for (int i = 0; i < values.length; i++) {
      values[i] = mean + deviation * random.nextGaussian();
    }
    return view.copyFrom(values);
  }

  private static TensorView copy(Tensor tensor, long... shape) {
    TensorView view = NativeBuffer.allocate(DType.BFLOAT16, shape).view(DType.BFLOAT16, shape);
    return view.copyFrom(Torch.view(tensor, DType.BFLOAT16, shape));
  }
}
