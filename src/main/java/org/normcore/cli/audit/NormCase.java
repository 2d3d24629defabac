package org.normcore.cli.audit;

import java.util.Optional;
import org.normcore.NormKind;
import org.normcore.TensorView;

/**
 * A norm to audit and its tensors, in their original types.
 *
 * @param name the norm's name
 * @param kind which norm it is
 * @param epsilon its epsilon
 * @param weight the weight, {@code [hidden]}
 * @param bias the bias, {@code [hidden]}, if it has one
 * @param x the hidden states, {@code [rows, hidden]}
 * @param drawn whether the hidden states are random rather than recorded
 * @param recordedY the recorded output of the norm for them
 */
record NormCase(
    String name,
    NormKind kind,
    double epsilon,
    TensorView weight,
    Optional<TensorView> bias,
    TensorView x,
    boolean drawn,
    Optional<TensorView> recordedY) {

  long rows() {
    return x.size(0);
  }

  long hiddenSize() {
    return x.size(1);
  }
}
