/** Tests of the safetensors format. */
package org.normcore.cli.safetensors;
