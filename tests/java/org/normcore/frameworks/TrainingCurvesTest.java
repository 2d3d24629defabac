package org.normcore.frameworks;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The program for the plot in the PyTorch guide runs and writes its results. */
@Tag("frameworks")
class TrainingCurvesTest {
  @Test
  void writesPlotAndFigures() throws Exception {
    Map<String, double[][]> losses = TrainingCurves.run(1, 3);
    double[][] first = losses.get("TRANSFORMER_ENGINE");
    double[][] second = losses.get("HUGGING_FACE_LLAMA");
    double[] apart = TrainingCurves.difference(first, second);
    assertEquals(0, apart[0], "with weights of 1 the policies agree");
    assertTrue(apart[2] > 0, "with others they do not");
    assertArrayEquals(new double[3], TrainingCurves.difference(first, first));

    String json = TrainingCurves.json(losses);
    JsonObject figures = JsonParser.parseString(json).getAsJsonObject();
    assertEquals(3, figures.size());
    assertEquals(
        (float) second[0][2],
        figures.getAsJsonArray("HUGGING_FACE_LLAMA").get(0).getAsJsonArray().get(2).getAsFloat());
    assertEquals(json, TrainingCurves.json(TrainingCurves.losses(json)));
    DocumentBuilderFactory parsers = DocumentBuilderFactory.newInstance();
    parsers.setFeature("http://apache.org/xml/features/nonvalidating/load-external-dtd", false);
    String plot = TrainingCurves.svg(losses, 3);
    assertTrue(plot.contains(">Distance of the losses, rms of 4 seeds</text>"), plot);
    byte[] svg = plot.getBytes(StandardCharsets.UTF_8);
    assertEquals(
        "svg",
        parsers
            .newDocumentBuilder()
            .parse(new ByteArrayInputStream(svg))
            .getDocumentElement()
            .getTagName());
    assertTrue(TrainingCurves.summary(losses, 3).contains("policies apart by"));
  }
}
