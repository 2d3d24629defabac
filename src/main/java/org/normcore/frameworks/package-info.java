/**
 * The tensors of other frameworks, seen as {@link org.normcore.TensorView}s without a copy: one
 * class per framework, which loads only where that framework is on the class path. Nothing else in
 * this library refers to these classes.
 *
 * <p>A view has the dtype that the framework itself tells, never one inferred from the class of a
 * buffer or pointer: float16 and bfloat16 look alike there. It keeps the framework's tensor
 * reachable. Frameworks free memory when a tensor is closed, though, reachable or not; operations
 * on the view are refused from then on, but closing a tensor while an operation runs on it is the
 * caller's to avoid.
 */
@NullMarked
package org.normcore.frameworks;

import org.jspecify.annotations.NullMarked;
