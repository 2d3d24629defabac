/**
 * Not part of the API: the only users of the generated binding ({@code
 * org.normcore.internal.capi}), the guard against use after close, and the split of a call into
 * ranges.
 */
@NullMarked
package org.normcore.internal;

import org.jspecify.annotations.NullMarked;
