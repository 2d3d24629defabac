/**
 * PyTorch as the outside judge: the sequences of operations that models run, and PyTorch's own
 * norms, with autograd, against the policies that are named after them.
 */
package org.normcore.judge;
