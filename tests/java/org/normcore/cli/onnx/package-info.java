/** Tests of the ONNX reader. */
package org.normcore.cli.onnx;
