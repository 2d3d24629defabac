import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.io.path.Path
import org.bytedeco.javacpp.FloatPointer
import org.normcore.Affine
import org.normcore.DLPack
import org.normcore.DType
import org.normcore.Device
import org.normcore.Gradients
import org.normcore.GradientMode
import org.normcore.LayerNorm
import org.normcore.NativeBuffer
import org.normcore.NormPolicy
import org.normcore.Operands
import org.normcore.RmsNorm
import org.normcore.TensorView

private const val ROWS = 32L
private const val N = 12L
private const val STEPS = 100
private const val RATE = 0.5f

/** Test data, the same in every run. */
private fun numbers(count: Long, seed: Int) =
  FloatArray(count.toInt()) { i -> kotlin.math.sin(1.7 * i + seed).toFloat() }

/** A least-squares fit of a norm's weight; returns the last loss. */
private fun fitRmsNorm(): Double =
  RmsNorm.builder(N).epsilon(1e-6).input(DType.FLOAT32).policy(NormPolicy.PYTORCH).build().use { norm ->
    NativeBuffer.allocate(DType.FLOAT32, 3 * ROWS + 2, N).use { memory ->
      val all = memory.view(DType.FLOAT32, 3 * ROWS + 2, N)
      val x = all.rows(0, ROWS).copyFrom(numbers(ROWS * N, 1))
      val y = all.rows(ROWS, 2 * ROWS)
      val dy = all.rows(2 * ROWS, 3 * ROWS)
      val weight = all.rows(3 * ROWS, 3 * ROWS + 1).reshape(N).copyFrom(numbers(N, 2))
      val dweight = all.rows(3 * ROWS + 1, 3 * ROWS + 2).reshape(N)
      norm.infer(x, weight, y)
      val target = y.toFloats()
      weight.copyFrom(FloatArray(N.toInt()) { 1f })
      var loss = Double.NaN
      norm.newSaved(ROWS).use { saved ->
        repeat(STEPS) {
          norm.forward(Operands.of(x, y).weight(weight), saved)
          loss = residuals(y, target, dy)
          norm.backward(saved, dy, Gradients.none().weight(dweight, GradientMode.WRITE))
          step(weight, dweight)
        }
      }
      loss
    }
  }

/** The same with a bias and with a forward that allocates its saved state. */
private fun fitLayerNorm(): Double =
  LayerNorm.builder(N).epsilon(1e-6).input(DType.FLOAT32).policy(NormPolicy.PYTORCH).build().use { norm ->
    NativeBuffer.allocate(DType.FLOAT32, 4 * ROWS + 4, N).use { memory ->
      val all = memory.view(DType.FLOAT32, 4 * ROWS + 4, N)
      val (x, y, dy, dx) = List(4) { i -> all.rows(i * ROWS, (i + 1) * ROWS) }
      val (weight, bias, dweight, dbias) =
        List(4) { i -> all.rows(4 * ROWS + i, 4 * ROWS + i + 1).reshape(N) }
      x.copyFrom(numbers(ROWS * N, 3))
      norm.infer(x, weight.copyFrom(numbers(N, 4)), bias.copyFrom(numbers(N, 5)), y)
      val target = y.toFloats()
      weight.copyFrom(FloatArray(N.toInt()) { 1f })
      bias.copyFrom(FloatArray(N.toInt()))
      var loss = Double.NaN
      repeat(STEPS) {
        norm.forward(x, weight, bias, y).use { saved ->
          loss = residuals(y, target, dy)
          val gradients =
            Gradients.of(dx).weight(dweight, GradientMode.WRITE).bias(dbias, GradientMode.WRITE)
          norm.backward(saved, dy, gradients)
          // The mean is nullable: LayerNorm has one, RMSNorm does not.
          val mean: TensorView? = saved.mean()
          check(mean!!.elements() == ROWS)
        }
        step(weight, dweight)
        step(bias, dbias)
      }
      loss
    }
  }

/** Writes the gradient of half the mean square error to dy and returns that error. */
private fun residuals(y: TensorView, target: FloatArray, dy: TensorView): Double {
  val difference = y.toFloats().mapIndexed { i, value -> value - target[i] }
  dy.copyFrom(FloatArray(difference.size) { i -> difference[i] / ROWS })
  return difference.sumOf { it.toDouble() * it } / (2 * ROWS)
}

private fun step(parameter: TensorView, gradient: TensorView) {
  val slope = gradient.toFloats()
  parameter.copyFrom(parameter.toFloats().mapIndexed { i, p -> p - RATE * slope[i] }.toFloatArray())
}

/** Overloads resolve without casts; absent tensors are null. */
private fun useOverloads() {
  val direct = ByteBuffer.allocateDirect(64).order(ByteOrder.nativeOrder())
  val ofBytes = TensorView.of(direct, DType.FLOAT32, 4, 4)
  val ofFloats = TensorView.of(direct.asFloatBuffer(), DType.FLOAT32, 4, 4)
  check(ofBytes.address() == ofFloats.address())
  FloatPointer(16L).use { pointer ->
    val onHost = TensorView.of(pointer, DType.FLOAT32, 4, 4)
    check(TensorView.of(pointer, DType.FLOAT32, Device.CPU, 4, 4).address() == onHost.address())
    check(TensorView.ofAddress(onHost.address(), DType.FLOAT32, Device.CPU, 4, 4).size(-1) == 4L)
    onHost.copyFrom(FloatArray(16)).copyFrom(DoubleArray(16)).copyFrom(ofBytes)
    DLPack.importTensor(DLPack.exportTensor(onHost)).use { check(it.tensor().rank() == 2) }
  }
  val plain = RmsNorm.builder(4).input(DType.FLOAT32).affine(Affine.NONE).policy(NormPolicy.PYTORCH)
  plain.build().use { norm ->
    norm.infer(ofBytes, null, ofFloats)
    norm.forward(ofBytes, null, TensorView.of(ByteBuffer.allocateDirect(64).order(ByteOrder.nativeOrder()), DType.FLOAT32, 4, 4)).close()
  }
}

private fun refuses(sentence: String, call: () -> Unit) {
  val message = runCatching(call).exceptionOrNull()?.message ?: "nothing was refused"
  check(sentence == message) { "expected: $sentence\ngot: $message" }
}

/** Typical mistakes in a first program. */
private fun makeMistakes() {
  val builder = RmsNorm.builder(4)
  refuses("input: not set; expected the dtype of x, by input(DType)") { builder.build() }
  builder.input(DType.FLOAT32)
  refuses("policy: not set; expected where to round, by policy(NormPolicy)") { builder.build() }
  val norm = builder.policy(NormPolicy.PYTORCH).build()
  val memory = NativeBuffer.allocate(DType.FLOAT32, 16)
  val x = memory.view(DType.FLOAT32, 2, 4)
  val y = memory.view(32, DType.FLOAT32, 2, 4)
  val weight = memory.view(DType.FLOAT32, 4)
  refuses("x: normalized shape [4] expected a tensor of shape [*, 4], got [4, 2]") {
    norm.infer(memory.view(DType.FLOAT32, 4, 2), weight, y)
  }
  refuses("weight: null; expected a tensor") { norm.infer(x, null, y) }
  refuses("y: dtype BFLOAT16; expected FLOAT32") {
    norm.infer(x, weight, memory.view(DType.BFLOAT16, 2, 4))
  }
  refuses("buffer: 64 bytes are too few for a FLOAT32 tensor of shape [3, 8]; expected at least 96") {
    memory.view(DType.FLOAT32, 3, 8)
  }
  norm.close()
  refuses("RmsNorm is closed") { norm.infer(x, weight, y) }
  memory.close()
  refuses("tensor: the NativeBuffer under it is closed; expected an open one") { x.toFloats() }
}

fun main(arguments: Array<String>) {
  check(fitRmsNorm() < 1e-10)
  check(fitLayerNorm() < 1e-10)
  useOverloads()
  makeMistakes()
  checkMisuse(Path(arguments[0]))
}
