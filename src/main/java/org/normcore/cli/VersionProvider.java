package org.normcore.cli;

import org.normcore.Normcore;
import picocli.CommandLine.IVersionProvider;

/** Answers {@code --version} with the native library's version. */
final class VersionProvider implements IVersionProvider {
  VersionProvider() {}

  @Override
  public String[] getVersion() {
    return new String[] {"normcore " + Normcore.version()};
  }
}
