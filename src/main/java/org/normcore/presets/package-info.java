/** The JavaCPP configuration of the C interface. Not part of the API. */
package org.normcore.presets;
