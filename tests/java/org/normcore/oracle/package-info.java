/**
 * PyTorch as the independent reference: the operation sequences of models and PyTorch's own norms,
 * with autograd, against the policies named after them.
 */
package org.normcore.oracle;
