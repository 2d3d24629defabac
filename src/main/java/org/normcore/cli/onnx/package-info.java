/**
 * Reads the tensors and nodes of ONNX models.
 *
 * <p>A file is one protobuf message, {@code ModelProto}; the field numbers here are those of {@code
 * onnx.proto} in the ONNX project. Opening a model walks through its graph and keeps the nodes and
 * where each tensor's data lies, never the data. Everything a length or a shape claims is checked
 * against the file before anything is mapped or allocated.
 */
package org.normcore.cli.onnx;
