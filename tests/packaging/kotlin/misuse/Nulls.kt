import org.normcore.DType
import org.normcore.Gradients
import org.normcore.LayerNorm
import org.normcore.NormPolicy
import org.normcore.Operands
import org.normcore.Saved
import org.normcore.TensorView

/** Calls that Kotlin refuses because of the library's nullness annotations. */
fun misuse(norm: LayerNorm, saved: Saved, x: TensorView, y: TensorView, absent: TensorView?) {
  norm.infer(x, null, null, y)
  norm.infer(absent, null, null, y) // refused
  norm.infer(x, absent, absent, y)
  norm.infer(x, x, x, null) // refused
  norm.backward(saved, null, Gradients.none()) // refused
  norm.backward(null, y, Gradients.none()) // refused
  norm.backward(saved, y, null) // refused
  Operands.of(x, null) // refused
  Gradients.of(absent) // refused
  saved.rstd().elements()
  saved.mean().elements() // refused
  saved.mean()?.elements()
  LayerNorm.builder(4).input(null) // refused
  LayerNorm.builder(4).policy(null) // refused
  LayerNorm.builder(4).input(DType.FLOAT32).policy(NormPolicy.PYTORCH)
  x.withOwner(null) // refused
  x.copyFrom(null as TensorView?) // refused
  x.copyFrom(intArrayOf(1)) // refused
  TensorView.of(floatArrayOf(1f), DType.FLOAT32, 1) // refused
  TensorView.ofAddress(4096, DType.FLOAT32, null, 1) // refused
  x.size(1L) // refused
}
