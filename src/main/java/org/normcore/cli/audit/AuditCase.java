package org.normcore.cli.audit;

import com.google.common.collect.ImmutableMap;
import org.normcore.DType;
import org.normcore.NormKind;
import org.normcore.cli.compare.Comparison;

/**
 * One norm in one type, computed in two ways.
 *
 * @param norm the norm's name
 * @param kind which norm it is
 * @param epsilon its epsilon
 * @param dtype the type of all its tensors
 * @param rows the number of rows
 * @param hiddenSize the length of a row
 * @param drawn whether the hidden states were drawn
 * @param a the name of one way
 * @param b the name of the other
 * @param tensors how far y, dx, dweight and, with a bias, dbias lie apart
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
