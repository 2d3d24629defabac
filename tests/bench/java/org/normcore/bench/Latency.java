package org.normcore.bench;

/**
 * The latency of one call on one row, measured in a separate process.
 *
 * @param library the library
 * @param time of averages over many calls
 */
record Latency(Workload workload, String library, Summary time) {}
