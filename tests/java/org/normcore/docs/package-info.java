/** Tests of README.md and the guides: their code compiles and runs, their links resolve. */
@NullMarked
package org.normcore.docs;

import org.jspecify.annotations.NullMarked;
