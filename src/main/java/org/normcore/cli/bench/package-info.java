/**
 * Throughput and latency of the operations, relative to this machine's copy bandwidth in the same
 * run.
 */
package org.normcore.cli.bench;
