/** Tests of the figures that {@code bench} derives from its measurements. */
package org.normcore.cli.bench;
