package org.normcore.presets;

import org.bytedeco.javacpp.annotation.Platform;
import org.bytedeco.javacpp.annotation.Properties;
import org.bytedeco.javacpp.tools.Info;
import org.bytedeco.javacpp.tools.InfoMap;
import org.bytedeco.javacpp.tools.InfoMapper;

/**
 * Maps {@code normcore/normcore.h} to Java. The header is an {@code include} and not a {@code
 * cinclude}: for the latter JavaCPP omits the guard that turns a C++ exception into a Java one.
 *
 * <p>The second platform is the CUDA plugin, in a separate jar. If that jar is on the class path,
 * JavaCPP loads the plugin first, and {@code libnormcore.so} finds it in the process.
 */
@Properties(
    value = {
      @Platform(
          include = "normcore/normcore.h",
          link = "normcore",
          // For DLPackCalls: calls C functions by address.
          define = "NC_CALL(function, argument) ((void (*)(void*))(function))((void*)(argument))"),
      @Platform(value = "linux-x86_64", extension = "-gpu", preload = "normcore_cuda")
    },
    target = "org.normcore.internal.capi",
    global = "org.normcore.internal.capi.global.normcore")
public class normcore implements InfoMapper {
  @Override
  public void map(InfoMap infoMap) {
    infoMap.put(new Info("NC_API", "NC_NOEXCEPT").cppTypes().annotations());
  }
}
