package org.normcore.cli.audit;

import java.util.Optional;
import org.normcore.NormKind;

/**
 * A norm of a model, and how it is computed there.
 *
 * @param module its parameters
 * @param kind which norm it is
 * @param epsilon its epsilon
 * @param operator the operator that it is in an ONNX graph; nothing if it is spelled out there in
 *     simpler ones, or in no graph at all
 */
record ModelNorm(NormModule module, NormKind kind, double epsilon, Optional<String> operator) {}
