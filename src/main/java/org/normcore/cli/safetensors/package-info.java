/**
 * Reads and writes the safetensors format.
 *
 * <p>A file is 8 bytes of header length (little endian), a JSON header that names every tensor with
 * its type, shape and byte range, and the data. The header is checked against the file before
 * anything is mapped or allocated.
 */
package org.normcore.cli.safetensors;
