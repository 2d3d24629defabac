/**
 * Normcore with its native libraries for the CPU, and with the CUDA plugin where that is on the
 * module path. The library itself is an automatic module, which can't say what it needs.
 */
@SuppressWarnings({"requires-automatic", "requires-transitive-automatic"})
module org.normcore.platform {
  requires transitive org.normcore;
  requires transitive org.bytedeco.javacpp;
  requires org.bytedeco.javacpp.linux.x86_64;
  requires org.normcore.natives;
  requires com.google.common;
  requires com.google.gson;
}
