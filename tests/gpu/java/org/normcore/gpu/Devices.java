package org.normcore.gpu;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.normcore.Cuda;
import org.normcore.CudaDevice;

/**
 * Says which GPU there is; or, with exit status 1, why the kit that ABOUT describes is of no use
 * here.
 */
final class Devices {
  private Devices() {}

  public static void main(String[] arguments) throws Exception {
    if (!Cuda.isAvailable()) {
      System.out.println(Cuda.unavailabilityCause().getMessage());
      System.exit(1);
    }
    CudaDevice device = Cuda.devices().get(0);
    System.out.println(device);
    List<String> about = Files.readAllLines(Path.of(arguments[0]));
    String architectures =
        about.stream()
            .filter(line -> line.startsWith("architectures "))
            .findFirst()
            .orElseThrow()
            .substring("architectures ".length());
    // Code for 9.0 runs on 9.x, PTX on everything later.
    int capability = device.computeCapability();
    for (String each : architectures.split(";")) {
      int built = Integer.parseInt(each.replaceAll("\\D.*", ""));
      boolean sameMajor = built / 10 == capability / 10 && built <= capability;
      boolean translated = !each.endsWith("-real") && built <= capability;
      if (sameMajor && !each.endsWith("-virtual") || translated) {
        return;
      }
    }
    System.out.println(
        "the kit is built for the architectures "
            + architectures
            + ", this device is "
            + capability
            + ": pack it with pack.sh DIRECTORY "
            + capability
            + "-real");
    System.exit(1);
  }
}
