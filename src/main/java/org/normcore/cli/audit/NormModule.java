package org.normcore.cli.audit;

import java.util.Optional;

/**
 * A norm of a model, found by the names of its parameters.
 *
 * @param name the module's name, for example {@code model.layers.0.input_layernorm}
 * @param weight the weight's tensor
 * @param bias the bias's tensor
 * @param hiddenSize the number of elements of each
 */
record NormModule(String name, String weight, Optional<String> bias, long hiddenSize) {}
