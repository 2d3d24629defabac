/**
 * Throughput and latency of the norms, next to this machine's own copy bandwidth in the same run.
 */
package org.normcore.cli.bench;
