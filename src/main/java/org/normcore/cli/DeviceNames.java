package org.normcore.cli;

import com.google.gson.JsonObject;
import org.normcore.Cuda;
import org.normcore.CudaDevice;
import org.normcore.Device;

/** The names of devices on the command line and in its output. */
public final class DeviceNames {
  private DeviceNames() {}

  /** The device that an option names; throws BadInput if this machine lacks it. */
  static Device parse(String text) {
    if (text.equals("cpu")) {
      return Device.CPU;
    }
    Device device;
    if (text.equals("cuda")) {
      device = Device.cuda(0);
    } else if (text.matches("cuda:[0-9]{1,4}")) {
      device = Device.cuda(Integer.parseInt(text.substring("cuda:".length())));
    } else {
      throw new BadInput("--device is \"" + text + "\", expected cpu, cuda or cuda:K");
    }
    Cuda.ensureAvailable();
    int count = Cuda.deviceCount();
    if (device.index() >= count) {
      throw new BadInput(
          "--device is "
              + text
              + ", but this machine has "
              + (count == 1
                  ? "1 CUDA device, expected cuda:0"
                  : count + " CUDA devices, expected cuda:0 to cuda:" + (count - 1)));
    }
    return device;
  }

  /** A device as text: {@code cpu}, or {@code cuda:0, NVIDIA H100}. */
  public static String text(Device device) {
    return device.isCpu() ? "cpu" : device + ", " + Cuda.device(device).name();
  }

  /** Adds the device to a document. */
  public static void add(JsonObject json, Device device) {
    json.addProperty("device", device.toString());
    if (!device.isCpu()) {
      json.addProperty("device_name", Cuda.device(device).name());
    }
  }

  /** The properties of a CUDA device. */
  static JsonObject json(CudaDevice device) {
    JsonObject json = new JsonObject();
    json.addProperty("device", device.device().toString());
    json.addProperty("name", device.name());
    json.addProperty(
        "compute_capability",
        device.computeCapability() / 10 + "." + device.computeCapability() % 10);
    json.addProperty("multiprocessors", device.multiprocessors());
    json.addProperty("memory_bytes", device.memoryBytes());
    return json;
  }
}
