package org.normcore.cli.audit;

import com.google.common.collect.ImmutableMap;
import org.normcore.DType;
import org.normcore.NormKind;
import org.normcore.cli.compare.Comparison;

/**
 * One norm in one type, computed by two methods.
 *
 * @param norm the norm's name
 * @param kind which norm it is
 * @param epsilon its epsilon
 * @param dtype the type of all its tensors
 * @param rows the number of rows
 * @param hiddenSize the length of a row
 * @param drawn whether the hidden states are random rather than recorded
 * @param a the name of the first method
 * @param b the name of the second
 * @param tensors the comparisons of y, dx, dweight and, with a bias, dbias
 */
record AuditCase(
    String norm,
    NormKind kind,
    double epsilon,
    DType dtype,
    long rows,
    long hiddenSize,
    boolean drawn,
    String a,
    String b,
    ImmutableMap<String, Comparison> tensors) {}
