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
 * The tensors of one computation on its device: copies of the host tensors or, on the CPU, the host
 * tensors themselves. Freed together. All work runs in the device's default stream.
 */
public final class DeviceTensors implements AutoCloseable {
  private record Output(TensorView host, TensorView remote) {}

  private final Device device;
  private final List<OwnedMemory> memory = new ArrayList<>();
  private final List<Output> outputs = new ArrayList<>();

  /** Makes an empty set of tensors on a device. */
  public DeviceTensors(Device device) {
    this.device = device;
  }

  /** Makes another set on the same device, fetched and freed separately. */
  public DeviceTensors another() {
    return new DeviceTensors(device);
  }

  /** Returns an input tensor with the contents of the host tensor. */
  public TensorView input(TensorView host) {
    return device.isCpu() ? host : like(host).copyFrom(host, CudaStream.ofDefault(device));
  }

  /** Returns an output tensor, which {@link #fetch} copies to the host tensor. */
  public TensorView output(TensorView host) {
    if (device.isCpu()) {
      return host;
    }
    TensorView remote = like(host);
    outputs.add(new Output(host, remote));
    return remote;
  }

  /**
   * Copies a contiguous tensor that is already on the device to the host tensor, in {@link #fetch}
   * at the latest.
   */
  public void output(TensorView host, TensorView remote) {
    if (device.isCpu()) {
      Memory.copy(host.address(), remote.address(), remote.elements() * remote.dtype().bytes());
    } else {
      outputs.add(new Output(host, remote));
    }
  }

  /**
   * Returns an input and output tensor with the contents of the host tensor; {@link #fetch} copies
   * it back.
   */
  public TensorView inOut(TensorView host) {
    return device.isCpu() ? host : output(host).copyFrom(host, CudaStream.ofDefault(device));
  }

  /** Returns uninitialised memory. */
  public OwnedMemory workspace(long bytes) {
    return keep(device.isCpu() ? NativeBuffer.allocate(bytes) : CudaBuffer.allocate(device, bytes));
  }

  /** Copies all outputs to the host after the computation. */
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
