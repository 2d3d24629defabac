package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import org.normcore.GammaOffset;
import org.normcore.NormPolicy;
import org.normcore.ScaleRounding;

/** The default policies of a comparison. */
final class DefaultPolicies {
  private DefaultPolicies() {}

  /** The policy of the model, and each of the two common policies that differs from it. */
  static ImmutableList<NormPolicy> of(ModelFacts model) {
    NormPolicy own = model.policy().orElse(NormPolicy.TRANSFORMER_ENGINE);
    if (own.gammaOffset() != GammaOffset.NONE) {
      // A preset without the offset of the weight would compute another function.
      return ImmutableList.of(own, own.toBuilder().scaleRounding(ScaleRounding.INPUT).build());
    }
    ImmutableList.Builder<NormPolicy> policies = ImmutableList.<NormPolicy>builder().add(own);
    for (NormPolicy common :
        ImmutableList.of(NormPolicy.TRANSFORMER_ENGINE, NormPolicy.HUGGING_FACE_LLAMA)) {
      if (!common.equals(own)) {
        policies.add(common);
      }
    }
    return policies.build();
  }
}
