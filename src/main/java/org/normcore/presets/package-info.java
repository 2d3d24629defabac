/** What the build tells JavaCPP about the C interface. Not part of the API. */
package org.normcore.presets;
