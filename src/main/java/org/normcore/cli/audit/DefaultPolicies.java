package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import org.normcore.GammaOffset;
import org.normcore.NormPolicy;
import org.normcore.ScaleRounding;

/** The policies to compare where the user names none. */
final class DefaultPolicies {
  private DefaultPolicies() {}

  /** The policy that fits the model, and those of the two common ones that round otherwise. */
  static ImmutableList<NormPolicy> of(ModelFacts model) {
    NormPolicy own = model.policy().orElse(NormPolicy.TRANSFORMER_ENGINE);
    if (own.gammaOffset() != GammaOffset.NONE) {
      // Another preset would apply the weight without its offset, which is another function and not
      // another rounding.
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
