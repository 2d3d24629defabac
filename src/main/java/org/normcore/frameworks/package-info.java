/**
 * Norms inside the training loops of frameworks, one class for each: zero-copy views of its tensors
 * and, where it has a tape, a place on that.
 *
 * <p>Nothing else in the library refers to a framework, and none comes with it: who uses one of
 * these classes brings the framework along.
 *
 * <p>A view has the dtype that the framework itself tells, never one inferred from the class of a
 * buffer or pointer: float16 and bfloat16 look alike there. It keeps the framework's tensor
 * reachable. Where a framework frees memory when a tensor is closed, reachable or not, operations
 * on the view are refused from then on; closing a tensor while an operation runs on it is the
 * caller's to avoid.
 */
@NullMarked
package org.normcore.frameworks;

import org.jspecify.annotations.NullMarked;
