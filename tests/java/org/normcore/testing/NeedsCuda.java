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
 * Tests that need a CUDA device, real or simulated: tagged {@code cuda}. Without a device they are
 * skipped with the reason in the report, or fail if {@code NORMCORE_CUDA_LIBRARY} is set. They
 * never access device memory from the host and depend on the class path only.
 */
@Target(ElementType.TYPE)
@Retention(RetentionPolicy.RUNTIME)
@Tag("cuda")
@ExtendWith(NeedsCuda.Condition.class)
public @interface NeedsCuda {
  /** Skips annotated tests if CUDA is unavailable. */
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
