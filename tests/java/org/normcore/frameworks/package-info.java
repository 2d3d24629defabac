/**
 * The adapters in use: each test trains or infers with the framework's own tensors, judged by the
 * framework's own LayerNorm where it has one, and by {@link org.normcore.testing.Reference} where
 * not. A process for each class, for the frameworks' natives are large and live as long as it.
 */
package org.normcore.frameworks;
