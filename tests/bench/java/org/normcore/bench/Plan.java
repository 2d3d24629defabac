package org.normcore.bench;

import java.util.ArrayList;
import java.util.List;
import org.normcore.DType;
import org.normcore.NormKind;

/** The plan of the measurements. */
record Plan(
    List<Shape> shapes,
    List<DType> dtypes,
    List<NormKind> kinds,
    List<Direction> directions,
    List<Integer> threads,
    List<Shape> mixedShapes) {
  static final List<Shape> SHAPES =
      shapes(
          "1x4096",
          "32x4096",
          "2048x1024",
          "2048x4096",
          "4096x4096",
          "512x16384",
          "64x131072",
          "1024x768",
          "4096x229",
          "65536x128");
  static final List<Shape> QUICK_SHAPES = shapes("1x4096", "32x4096", "2048x4096");

  /** The shapes that are also measured in bfloat16 with a float32 weight. */
  static final List<Shape> MIXED_SHAPES = shapes("32x4096", "2048x4096");

  /** Tensors of one shape and types. */
  record Block(Shape shape, DType dtype, DType weightType) {}

  List<Block> blocks() {
    List<Block> blocks = new ArrayList<>();
    for (Shape shape : shapes) {
      for (DType dtype : dtypes) {
        blocks.add(new Block(shape, dtype, dtype));
      }
      if (dtypes.contains(DType.BFLOAT16) && mixedShapes.contains(shape)) {
        blocks.add(new Block(shape, DType.BFLOAT16, DType.FLOAT32));
      }
    }
    return blocks;
  }

  /** The workloads of each session of a block: one session per kind and number of threads. */
  List<List<Workload>> fields(Block block) {
    List<List<Workload>> fields = new ArrayList<>();
    for (int count : threads) {
      for (NormKind kind : kinds) {
        fields.add(
            directions.stream()
                .map(
                    direction ->
                        new Workload(
                            kind,
                            direction,
                            block.dtype(),
                            block.weightType(),
                            block.shape(),
                            count))
                .toList());
      }
    }
    return fields;
  }

  int fieldCount() {
    return blocks().size() * kinds.size() * threads.size();
  }

  private static List<Shape> shapes(String... texts) {
    return List.of(texts).stream().map(Shape::parse).toList();
  }
}
