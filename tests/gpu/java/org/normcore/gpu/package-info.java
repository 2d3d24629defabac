/**
 * Tests that need a real GPU: CUDA graphs and streams of the JavaCPP CUDA presets. Compiled in
 * every build, run by {@code tests/gpu/kit/run.sh}.
 */
package org.normcore.gpu;
