/**
 * Tests of the adapters, each against its real framework, judged by the framework's own LayerNorm
 * where it has one, and by {@link org.normcore.testing.Reference} where not.
 */
@NullMarked
package org.normcore.frameworks;

import org.jspecify.annotations.NullMarked;
