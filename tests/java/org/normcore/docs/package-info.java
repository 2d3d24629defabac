/**
 * What README.md and the guides show and claim: their code compiles and runs, their links resolve.
 */
@NullMarked
package org.normcore.docs;

import org.jspecify.annotations.NullMarked;
