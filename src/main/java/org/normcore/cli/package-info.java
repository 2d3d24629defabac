/**
 * The command line: {@code info}, {@code apply}, {@code audit} and {@code bench}.
 *
 * <p>Results go to standard output, as text or, with {@code --json}, as one JSON document. Exit
 * status 0 means done, 2 means that the usage or the input is wrong (one sentence on standard error
 * says how), 1 anything else.
 */
package org.normcore.cli;
