package org.normcore.cli;

import org.normcore.Device;

/** Devices as written on the command line. */
final class DeviceNames {
  private DeviceNames() {}

  static Device parse(String text) {
    if (text.equals("cpu")) {
      return Device.CPU;
    }
    if (text.equals("cuda")) {
      return Device.cuda(0);
    }
    if (text.matches("cuda:[0-9]{1,4}")) {
      return Device.cuda(Integer.parseInt(text.substring("cuda:".length())));
    }
    throw new BadInput("--device is \"" + text + "\", expected cpu, cuda or cuda:K");
  }
}
