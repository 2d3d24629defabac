/**
 * The audit: the differences between the policies' results, forward and backward, on a model's
 * norms or on a built-in case.
 */
package org.normcore.cli.audit;
