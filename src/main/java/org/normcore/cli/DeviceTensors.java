package org.normcore.cli;

import java.util.ArrayList;
import java.util.List;
import org.normcore.CudaBuffer;
import org.normcore.CudaStream;
import org.normcore.Device;
import org.normcore.NativeBuffer;
import org.normcore.OwnedMemory;
import org.normcore.TensorView;
import org.normcore.internal.Memory;

/**
 * The tensors of one computation on the device that it runs on: copies of the host's there, or on
 * the CPU the host's own. Freed together. Everything goes into the device's default stream.
 */
public final class DeviceTensors implements AutoCloseable {
  private record Output(TensorView host, TensorView remote) {}

  private final Device device;
  private final List<OwnedMemory> memory = new ArrayList<>();
  private final List<Output> outputs = new ArrayList<>();

  /** Tensors on a device. */
  public DeviceTensors(Device device) {
    this.device = device;
  }

  /** More tensors on the same device, to be fetched and freed on their own. */
  public DeviceTensors another() {
    return new DeviceTensors(device);
  }

  /** A tensor to read, with the contents of the host's. */
  public TensorView input(TensorView host) {
    return device.isCpu() ? host : like(host).copyFrom(host, CudaStream.ofDefault(device));
  }

  /** A tensor to write, whose contents {@link #fetch} brings to the host's. */
  public TensorView output(TensorView host) {
    if (device.isCpu()) {
      return host;
    }
    TensorView remote = like(host);
    outputs.add(new Output(host, remote));
    return remote;
  }

  /**
   * Brings a contiguous tensor that is already on the device to the host's, {@link #fetch} at the
   * latest.
   */
  public void output(TensorView host, TensorView remote) {
    if (device.isCpu()) {
      Memory.copy(host.address(), remote.address(), remote.elements() * remote.dtype().bytes());
    } else {
      outputs.add(new Output(host, remote));
    }
  }

  /** A tensor to read and write, with the contents of the host's until {@link #fetch}. */
  public TensorView inOut(TensorView host) {
    return device.isCpu() ? host : output(host).copyFrom(host, CudaStream.ofDefault(device));
  }

  /** Memory without contents. */
  public OwnedMemory workspace(long bytes) {
    return keep(device.isCpu() ? NativeBuffer.allocate(bytes) : CudaBuffer.allocate(device, bytes));
  }

  /** Brings all outputs to the host, when everything has been computed. */
  public void fetch() {
    if (!device.isCpu()) {
      CudaStream stream = CudaStream.ofDefault(device);
      outputs.forEach(output -> output.host.copyFrom(output.remote, stream));
      stream.synchronize();
    }
  }

  private TensorView like(TensorView host) {
    return keep(CudaBuffer.allocate(device, host.dtype(), host.shape()))
        .view(host.dtype(), host.shape());
  }

  private <M extends OwnedMemory> M keep(M block) {
    memory.add(block);
    return block;
  }

  @Override
  public void close() {
    memory.forEach(OwnedMemory::close);
    memory.clear();
  }
}
