/** Tests of the adapters, each against its real framework. */
@NullMarked
package org.normcore.frameworks;

import org.jspecify.annotations.NullMarked;
