package org.normcore.bench;

import java.util.List;

/** Everybody who is measured. */
final class Libraries {
  private static final Library OURS = new Ours();

  /** Made when first asked for: they load large natives. */
  private static final class Peers {
    private static final List<Library> ALL =
        List.of(new Torch(true), new Torch(false), new OneDnn(), new OnnxRuntime());
  }

  private Libraries() {}

  static Library ours() {
    return OURS;
  }

  static List<Library> peers() {
    return Peers.ALL;
  }

  static List<Library> copies() {
    return List.of(CopyLibrary.MEMCPY, CopyLibrary.STREAMING);
  }
}
