import java.nio.{ByteBuffer, ByteOrder}
import org.bytedeco.javacpp.FloatPointer
import org.normcore._
import scala.util.{Try, Using}

object Main {
  private val rows = 32
  private val n = 12
  private val steps = 100
  private val rate = 0.5f

  def main(arguments: Array[String]): Unit = {
    require(fitRmsNorm() < 1e-10)
    require(fitLayerNorm() < 1e-10)
    useOverloads()
    makeMistakes()
  }

  /** Test data, the same in every run. */
  private def numbers(count: Int, seed: Int): Array[Float] =
    Array.tabulate(count)(i => math.sin(1.7 * i + seed).toFloat)

  /** A least-squares fit of a norm's weight; returns the last loss. */
  private def fitRmsNorm(): Double = Using.Manager { use =>
    val norm = use(RmsNorm.builder(n).epsilon(1e-6).input(DType.FLOAT32).policy(NormPolicy.PYTORCH).build())
    val all = use(NativeBuffer.allocate(DType.FLOAT32, 3 * rows + 2, n)).view(DType.FLOAT32, 3 * rows + 2, n)
    val saved = use(norm.newSaved(rows))
    val x = all.rows(0, rows).copyFrom(numbers(rows * n, 1))
    val y = all.rows(rows, 2 * rows)
    val dy = all.rows(2 * rows, 3 * rows)
    val weight = all.rows(3 * rows, 3 * rows + 1).reshape(n).copyFrom(numbers(n, 2))
    val dweight = all.rows(3 * rows + 1, 3 * rows + 2).reshape(n)
    norm.infer(x, weight, y)
    val target = y.toFloats
    weight.copyFrom(Array.fill(n)(1f))
    val losses = for (_ <- 1 to steps) yield {
      norm.forward(Operands.of(x, y).weight(weight), saved)
      val loss = residuals(y, target, dy)
      norm.backward(saved, dy, Gradients.none.weight(dweight, GradientMode.WRITE))
      step(weight, dweight)
      loss
    }
    losses.last
  }.get

  /** The same with a bias and with a forward that allocates its saved state. */
  private def fitLayerNorm(): Double = Using.Manager { use =>
    val norm = use(LayerNorm.builder(n).epsilon(1e-6).input(DType.FLOAT32).policy(NormPolicy.PYTORCH).build())
    val all = use(NativeBuffer.allocate(DType.FLOAT32, 4 * rows + 4, n)).view(DType.FLOAT32, 4 * rows + 4, n)
    val Seq(x, y, dy, dx) = (0 until 4).map(i => all.rows(i * rows, (i + 1) * rows)): @unchecked
    val Seq(weight, bias, dweight, dbias) =
      (0 until 4).map(i => all.rows(4 * rows + i, 4 * rows + i + 1).reshape(n)): @unchecked
    x.copyFrom(numbers(rows * n, 3))
    norm.infer(x, weight.copyFrom(numbers(n, 4)), bias.copyFrom(numbers(n, 5)), y)
    val target = y.toFloats
    weight.copyFrom(Array.fill(n)(1f))
    bias.copyFrom(new Array[Float](n))
    val losses = for (_ <- 1 to steps) yield {
      val loss = Using.resource(norm.forward(x, weight, bias, y)) { saved =>
        val loss = residuals(y, target, dy)
        val gradients = Gradients.of(dx).weight(dweight, GradientMode.WRITE).bias(dbias, GradientMode.WRITE)
        norm.backward(saved, dy, gradients)
        require(Option(saved.mean).exists(_.elements == rows))
        loss
      }
      step(weight, dweight)
      step(bias, dbias)
      loss
    }
    losses.last
  }.get

  /** Writes the gradient of half the mean square error to dy and returns that error. */
  private def residuals(y: TensorView, target: Array[Float], dy: TensorView): Double = {
    val difference = y.toFloats.zip(target).map { case (value, aim) => value - aim }
    dy.copyFrom(difference.map(_ / rows))
    difference.map(d => d.toDouble * d).sum / (2 * rows)
  }

  private def step(parameter: TensorView, gradient: TensorView): Unit =
    parameter.copyFrom(parameter.toFloats.zip(gradient.toFloats).map { case (p, slope) => p - rate * slope })

  /** Overloads resolve without type annotations; absent tensors are null. */
  private def useOverloads(): Unit = {
    val direct = ByteBuffer.allocateDirect(64).order(ByteOrder.nativeOrder)
    val ofBytes = TensorView.of(direct, DType.FLOAT32, 4, 4)
    val ofFloats = TensorView.of(direct.asFloatBuffer, DType.FLOAT32, 4, 4)
    require(ofBytes.address == ofFloats.address)
    val shape = Seq(4L, 4L)
    Using.resource(new FloatPointer(16L)) { pointer =>
      val onHost = TensorView.of(pointer, DType.FLOAT32, shape: _*)
      require(TensorView.of(pointer, DType.FLOAT32, Device.CPU, 4, 4).address == onHost.address)
      require(TensorView.ofAddress(onHost.address, DType.FLOAT32, Device.CPU, 4, 4).size(-1) == 4)
      onHost.copyFrom(new Array[Float](16)).copyFrom(new Array[Double](16)).copyFrom(ofBytes)
      Using.resource(DLPack.importTensor(DLPack.exportTensor(onHost)))(t => require(t.tensor.rank == 2))
    }
    val plain = RmsNorm.builder(4).input(DType.FLOAT32).affine(Affine.NONE).policy(NormPolicy.PYTORCH)
    Using.resource(plain.build()) { norm =>
      norm.infer(ofBytes, null, ofFloats)
    }
  }

  private def refuses(sentence: String)(call: => Any): Unit = {
    val message = Try(call).failed.map(_.getMessage).getOrElse("nothing was refused")
    require(message == sentence, s"expected: $sentence\ngot: $message")
  }

  /** Typical mistakes in a first program, in a language without null checks. */
  private def makeMistakes(): Unit = Using.Manager { use =>
    val builder = RmsNorm.builder(4).input(DType.FLOAT32)
    refuses("policy: null; expected a NormPolicy")(builder.policy(null))
    refuses("policy: not set; expected where to round, by policy(NormPolicy)")(builder.build())
    val norm = use(builder.policy(NormPolicy.PYTORCH).build())
    val memory = use(NativeBuffer.allocate(DType.FLOAT32, 16))
    val x = memory.view(DType.FLOAT32, 2, 4)
    val y = memory.view(32, DType.FLOAT32, 2, 4)
    val weight = memory.view(DType.FLOAT32, 4)
    refuses("x: null; expected a tensor")(norm.infer(null, weight, y))
    refuses("gradients: null; expected Gradients.none() or more") {
      Using.resource(norm.forward(x, weight, y))(norm.backward(_, y, null))
    }
    refuses("dtype: null; expected a DType")(memory.view(null, 2, 4))
  }.get
}
