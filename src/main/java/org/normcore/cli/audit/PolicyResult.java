package org.normcore.cli.audit;

import com.google.common.collect.ImmutableMap;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.TensorView;

/**
 * The result of one method for a norm.
 *
 * @param tensors y, dx, dweight and, with a bias, dbias, by name
 * @param mean the rows' means, for LayerNorm
 * @param rstd the rows' reciprocal standard deviations
 */
record PolicyResult(
    ImmutableMap<String, TensorView> tensors, Optional<TensorView> mean, TensorView rstd) {
  DType dtype() {
    return y().dtype();
  }

  TensorView y() {
    return tensors.get("y");
  }
}
