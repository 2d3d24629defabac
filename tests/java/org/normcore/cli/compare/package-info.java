/** Tests of comparisons. */
package org.normcore.cli.compare;
