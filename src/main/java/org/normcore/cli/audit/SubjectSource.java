package org.normcore.cli.audit;

import java.io.IOException;

/** The norms to audit, one at a time, so that only one norm's hidden states are in memory. */
interface SubjectSource extends AutoCloseable {
  int count();

  /** A norm; the tensors made for it go into the arena. */
  Subject get(int index, Arena arena) throws IOException;

  @Override
  void close() throws IOException;
}
