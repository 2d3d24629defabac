/** Tests of the audit. */
package org.normcore.cli.audit;
