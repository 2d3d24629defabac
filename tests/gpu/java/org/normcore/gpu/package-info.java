/**
 * What takes a real GPU: CUDA graphs and streams made by the JavaCPP CUDA presets. Compiled in
 * every build, run by {@code tests/gpu/run.sh}.
 */
package org.normcore.gpu;
