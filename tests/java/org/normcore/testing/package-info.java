/** Helpers of several tests: memory with guards, random values, exact models, bit comparisons. */
package org.normcore.testing;
