/**
 * Reads the tensors and nodes of ONNX models.
 *
 * <p>A file is one protobuf message, {@code ModelProto}; the field numbers here are those of {@code
 * onnx.proto} in the ONNX project. Opening a model reads its graph and keeps the nodes and the
 * location of each tensor's data, not the data. All lengths and shapes are checked against the file
 * before anything is mapped or allocated.
 */
package org.normcore.cli.onnx;
