/**
 * Reads and writes the safetensors format.
 *
 * <p>A file is 8 bytes of header length (little endian), a JSON header that names every tensor with
 * its type, shape and byte range, and the data. Everything the header claims is checked against the
 * file before anything is mapped, and nothing is ever allocated in a size that only the header
 * vouches for.
 */
package org.normcore.cli.safetensors;
