/**
 * The command line: {@code info}, {@code apply}, {@code audit} and {@code bench}.
 *
 * <p>Results go to standard output, as text or, with {@code --json}, as one JSON document. Exit
 * status 0 means success, 2 invalid usage or input (one sentence on standard error gives the
 * reason), 1 any other failure.
 */
package org.normcore.cli;
