package org.normcore.cli.audit;

import java.util.Optional;
import org.normcore.NormKind;

/**
 * A norm of a model and its computation.
 *
 * @param module its parameters
 * @param kind which norm it is
 * @param epsilon its epsilon
 * @param operator its operator in an ONNX graph; empty if the graph composes it from simpler
 *     operators, or without a graph
 */
record ModelNorm(NormModule module, NormKind kind, double epsilon, Optional<String> operator) {}
