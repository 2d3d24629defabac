/**
 * The audit: how far apart do the policies' results lie, forward and backward, on a model's norms
 * or on a built-in case?
 */
package org.normcore.cli.audit;
