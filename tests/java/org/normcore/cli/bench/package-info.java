/** Tests of what {@code bench} works out of its measurements. */
package org.normcore.cli.bench;
