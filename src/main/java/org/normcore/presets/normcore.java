package org.normcore.presets;

import org.bytedeco.javacpp.annotation.Platform;
import org.bytedeco.javacpp.annotation.Properties;
import org.bytedeco.javacpp.tools.Info;
import org.bytedeco.javacpp.tools.InfoMap;
import org.bytedeco.javacpp.tools.InfoMapper;

/**
 * Maps {@code normcore/normcore.h} to Java. The header is given as {@code include} and not as
 * {@code cinclude}: JavaCPP would otherwise leave out the guard that turns a C++ exception into a
 * Java one.
 *
 * <p>The second platform is the CUDA plugin, alone in a jar of its own. Where that is on the class
 * path, the plugin is loaded first, and {@code libnormcore.so} finds it in the process.
 */
@Properties(
    value = {
      @Platform(
          include = "normcore/normcore.h",
          link = "normcore",
          // For DLPackCalls: C functions that are known by their address alone.
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
