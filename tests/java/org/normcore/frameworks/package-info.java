/**
 * Tests of the adapters with the real frameworks. The reference is the framework's own LayerNorm if
 * it has one, otherwise {@link org.normcore.testing.Reference}.
 */
@NullMarked
package org.normcore.frameworks;

import org.jspecify.annotations.NullMarked;
