/** Tests of the command line. */
package org.normcore.cli;
