package org.normcore.frameworks;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.normcore.Affine;
import org.normcore.DType;
import org.normcore.NativeBuffer;
import org.normcore.NormPolicy;
import org.normcore.RmsNorm;
import org.normcore.TensorView;
import org.tensorflow.EagerSession;
import org.tensorflow.op.Ops;
import org.tensorflow.types.TFloat32;

/**
 * Loads native libraries into one process in the order of its arguments. Each must compute
 * correctly after it is loaded and after each later library is loaded.
 */
enum Coexistence {
  NORMCORE {
    @Override
    float ones() {
      try (RmsNorm norm =
              RmsNorm.builder(SIZE)
                  .epsilon(0)
                  .input(DType.FLOAT32)
                  .affine(Affine.NONE)
                  .policy(NormPolicy.PYTORCH)
                  .build();
          NativeBuffer memory = NativeBuffer.allocate(DType.FLOAT32, SIZE, SIZE)) {
        TensorView x = memory.view(DType.FLOAT32, SIZE, SIZE);
        float[] threes = new float[SIZE * SIZE];
        java.util.Arrays.fill(threes, 3);
        norm.infer(x.copyFrom(threes), null, x);
        float sum = 0;
        for (float y : x.rows(SIZE - 1, SIZE).toFloats()) {
          sum += y;
        }
        return sum;
      }
    }
  },
  PYTORCH {
    @Override
    float ones() {
      Tensor x = torch.ones(SIZE, SIZE);
      return x.matmul(x).data_ptr_float().get();
    }
  },
  ND4J {
    @Override
    float ones() {
      INDArray x = Nd4j.ones(DataType.FLOAT, SIZE, SIZE);
      return x.mmul(x).getFloat(0, 0);
    }
  },
  TENSORFLOW {
    @Override
    float ones() {
      try (EagerSession session = EagerSession.create()) {
        Ops tf = Ops.create(session);
        var x = tf.ones(tf.constant(new int[] {SIZE, SIZE}), TFloat32.class);
        return tf.linalg.matMul(x, x).asTensor().getFloat(0, 0);
      }
    }
  },
  DJL {
    @Override
    float ones() {
      try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
        NDArray x = manager.ones(new Shape(SIZE, SIZE));
        return x.matMul(x).getFloat(0, 0);
      }
    }
  };

  static final int SIZE = 64;

  /** The sum of this many ones, by a matrix product or a norm. */
  abstract float ones();

  public static void main(String[] names) {
    List<Coexistence> loaded = new ArrayList<>();
    for (String name : names) {
      loaded.add(valueOf(name));
      loaded.forEach(Coexistence::check);
    }
    System.out.println("all " + names.length);
  }

  private void check() {
    float ones = ones();
    if (ones != SIZE) {
      throw new AssertionError(this + ": " + ones);
    }
  }
}
