/**
 * Norms inside the training loops of frameworks, one class for each: zero-copy views of its tensors
 * and, where it has a tape, a place on that.
 *
 * <p>Nothing else in the library refers to a framework, and none comes with it: who uses one of
 * these classes brings the framework along.
 */
@NullMarked
package org.normcore.frameworks;

import org.jspecify.annotations.NullMarked;
