package org.normcore.cli.audit;

import java.io.IOException;

/** The norms to audit, one at a time, so that only one norm's hidden states are in memory. */
interface NormCaseSource extends AutoCloseable {
  int count();

  /** Returns a norm; the arena owns the tensors made for it. */
  NormCase get(int index, Arena arena) throws IOException;

  @Override
  void close() throws IOException;
}
