package org.normcore.cli.audit;

import org.normcore.DType;

/**
 * The errors of a recorded output and of the library's, against the exact value computed in
 * float64.
 *
 * @param norm the norm's name
 * @param dtype the type of the outputs
 * @param policy the policy of the library's output
 * @param recorded the recorded output's errors
 * @param normcore the library's
 * @param normcoreFloat64 the library's under the same policy with all arithmetic in float64
 */
record RecordedCase(
    String norm,
    DType dtype,
    String policy,
    Errors recorded,
    Errors normcore,
    Errors normcoreFloat64) {
  /**
   * The errors of an output.
   *
   * @param max the largest absolute error
   * @param rms the root of the mean square error
   */
  record Errors(double max, double rms) {
    static Errors of(double[] values, double[] exact) {
      double max = 0;
      double squares = 0;
      for (int i = 0; i < values.length; i++) {
        double error = Math.abs(values[i] - exact[i]);
        max = Double.isNaN(error) ? Double.POSITIVE_INFINITY : Math.max(max, error);
        squares += error * error;
      }
      return new Errors(max, values.length == 0 ? 0 : Math.sqrt(squares / values.length));
    }
  }
}
