package org.normcore.testing;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.normcore.Cuda;

/**
 * Tests that need a CUDA device, real or simulated: tagged {@code cuda}, and skipped where there is
 * none, with the reason in the report; but where {@code NORMCORE_CUDA_LIBRARY} promises one, they
 * fail. They never read or write device memory from the host, and need no more of their
 * surroundings than the class path.
 */
@Target(ElementType.TYPE)
@Retention(RetentionPolicy.RUNTIME)
@Tag("cuda")
@ExtendWith(NeedsCuda.Condition.class)
public @interface NeedsCuda {
  /** Skips what is annotated where CUDA is unavailable. */
  final class Condition implements ExecutionCondition {
    @Override
    public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
      UnsupportedOperationException cause = Cuda.unavailabilityCause();
      return cause == null || System.getenv("NORMCORE_CUDA_LIBRARY") != null
          ? ConditionEvaluationResult.enabled("CUDA devices: " + Cuda.devices())
          : ConditionEvaluationResult.disabled(cause.getMessage());
    }
  }
}
