package org.normcore.bench;

/**
 * One call on one row, in a process of its own.
 *
 * @param library whose
 * @param samples averages over many calls
 */
record Latency(Workload workload, String library, Samples samples) {}
