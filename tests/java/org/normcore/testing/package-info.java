/** What several tests share: memory with guards around it, random values, an exact model, bits. */
package org.normcore.testing;
