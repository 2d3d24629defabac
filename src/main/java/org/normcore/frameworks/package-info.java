/**
 * Adapters for frameworks, one class per framework: zero-copy views of its tensors and, where
 * available, autograd support.
 *
 * <p>The rest of the library does not refer to a framework, and no framework is a dependency: users
 * of these classes add it themselves.
 *
 * <p>A view has the dtype that the framework reports, never one inferred from the class of a buffer
 * or pointer, which is the same for float16 and bfloat16. It keeps the framework's tensor
 * reachable. Some frameworks free memory when a tensor is closed even if it is reachable;
 * operations on the view then throw. The caller must not close a tensor while an operation runs on
 * it.
 */
@NullMarked
package org.normcore.frameworks;

import org.jspecify.annotations.NullMarked;
