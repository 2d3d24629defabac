/**
 * Compares tensors element by element: how many differ, by how much, and by how many steps of their
 * number format.
 */
package org.normcore.cli.compare;
