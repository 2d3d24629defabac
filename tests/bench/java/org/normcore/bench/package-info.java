/**
 * Benchmarks of the CPU backend against PyTorch, oneDNN, ONNX Runtime and plain copies, on the same
 * tensors in the same run.
 */
package org.normcore.bench;
