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
 */
@Properties(
    value = @Platform(include = "normcore/normcore.h", link = "normcore"),
    target = "org.normcore.internal.capi",
    global = "org.normcore.internal.capi.global.normcore")
public class normcore implements InfoMapper {
  @Override
  public void map(InfoMap infoMap) {
    infoMap.put(new Info("NC_API", "NC_NOEXCEPT").cppTypes().annotations());
  }
}
