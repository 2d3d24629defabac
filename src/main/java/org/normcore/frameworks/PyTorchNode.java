package org.normcore.frameworks;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.DeviceOptional;
import org.bytedeco.pytorch.Edge;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Node;
import org.bytedeco.pytorch.PointerConsumer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorBase;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorTensorHook;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.DeviceType;
import org.jspecify.annotations.Nullable;
import org.normcore.CudaBuffer;
import org.normcore.CudaStream;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.NativeBuffer;
import org.normcore.Norm;
import org.normcore.OwnedMemory;
import org.normcore.TensorView;

/**
 * One application of a norm in autograd's graph.
 *
 * <p>The binding cannot define a custom node in Java. It has the nodes of PyTorch's operations,
 * whose edges can be set, and hooks on gradients, which may replace a gradient by one of the same
 * shape and dtype. So the node is composed of nodes that only pass on views of one element of the
 * gradient:
 *
 * <pre>
 * y      the tensor, with its own memory
 * pass   AliasBackward: passes dy on unchanged; the user's hooks on y run before it
 * pick   AsStridedScatterBackward: its hook gets dy and runs the norm's backward; the node itself
 *        passes on one element of dy, whose value is ignored, as a tensor without dimensions
 * fork   AddBackward, for each of x, weight and bias that requires a gradient: passes that on to
 * spread SumBackward: the element spread to the shape of x (weight, bias) by strides of 0
 * swap   AliasBackward of x.alias(): its hook replaces that with dx; then x's own graph
 * </pre>
 *
 * <p>The other edge of the last fork leads to a leaf, the ticket, whose memory has a deleter.
 * PyTorch calls the deleter when it frees the graph, with or without a backward; it releases this
 * object. PyTorch's engine does the rest: which branches are needed, sums of gradients, threads of
 * other devices. The operations that create the nodes run on the meta device, where they compute
 * nothing.
 */
final class PyTorchNode {
  /** Nodes of live graphs, by the address of their ticket. */
  private static final Map<Long, PyTorchNode> LIVE = new ConcurrentHashMap<>();

  private static final AtomicLong LAST_ID = new AtomicLong();
  private static final PointerConsumer DELETER = new Deleter().retainReference();
  private static final TensorBase UNCHANGED = new TensorBase().retainReference();
  private static final MemoryFormatOptional ANY_FORMAT =
      new MemoryFormatOptional().retainReference();
  private static final TensorOptions META_OPTIONS =
      new TensorOptions(new org.bytedeco.pytorch.Device(DeviceType.Meta)).retainReference();
  private static final Tensor META = metaLeaf().retainReference();
  private static final Tensor META_INSIDE = metaLeaf(1).detach().retainReference();

  /** Workspaces on CUDA devices, one per stream; work in the stream uses its workspace in order. */
  private static final Map<Long, OwnedMemory> WORKSPACES = new HashMap<>();

  /**
   * The last result of a hook of this thread. PyTorch takes its own reference after the hook
   * returns, so the next hook releases this one.
   */
  private static final ThreadLocal<@Nullable Tensor> RETURNED = new ThreadLocal<>();

  /**
   * Nodes that this thread is freeing. Freeing a node may free the graph below it; recursion would
   * overflow the stack for deep networks.
   */
  private static final ThreadLocal<@Nullable ArrayDeque<PyTorchNode>> DYING = new ThreadLocal<>();

  private final Norm norm;
  private final List<Pointer> kept = new ArrayList<>();
  private final List<Branch> branches = new ArrayList<>();
  private final Map<Integer, Map<Role, Tensor>> results = new HashMap<>();
  private @Nullable Saved saved;

  private PyTorchNode(Norm norm) {
    this.norm = norm;
  }

  /** The tensors that a backward reads. */
  private record Saved(
      Tensor x,
      long xVersion,
      @Nullable Tensor weight,
      long weightVersion,
      @Nullable Tensor mean,
      Tensor rstd) {
    void free() {
      x.releaseReference();
      if (weight != null) {
        weight.releaseReference();
      }
      if (mean != null) {
        mean.releaseReference();
      }
      rstd.releaseReference();
    }
  }

  private enum Role {
    X,
    WEIGHT,
    BIAS
  }

  /** The branch to one of the norm's inputs. */
  private record Branch(Role role, long[] shape, Node spread) {
    /** Returns whether the running backward needs its gradient. */
    boolean isNeeded() {
      return spread.task_should_compute_output(0);
    }
  }

  /** Returns the number of nodes of live graphs. */
  static int live() {
    return LIVE.size();
  }

  /**
   * Adds {@code y} to the graph. Must run in a scope that frees the temporaries made here.
   *
   * @param source the tensor that was read: {@code x}, or a contiguous copy
   */
  static void record(
      Norm norm,
      Tensor y,
      Tensor x,
      Tensor source,
      @Nullable Tensor weight,
      @Nullable Tensor bias,
      PyTorch.Statistics statistics) {
    PyTorchNode node = new PyTorchNode(norm);
    node.saved =
        new Saved(
            own(source),
            source._version(),
            weight == null ? null : own(weight),
            weight == null ? 0 : weight._version(),
            statistics.mean() == null ? null : own(statistics.mean()),
            own(statistics.rstd()));
    Tensor ticket = node.ticket(y);
    Edge edge = ticket.alias().grad_fn().next_edge(0);
    Tensor scalar = scalar(y);
    edge = node.branch(Role.X, x, scalar, edge);
    edge = node.branch(Role.WEIGHT, weight, scalar, edge);
    edge = node.branch(Role.BIAS, bias, scalar, edge);
    // From now on its accumulator ignores incoming gradients.
    ticket.set_requires_grad(false);

    Node pick =
        torch
            .as_strided_scatter(META_INSIDE, META, new long[0], new long[0], new LongOptional(0))
            .grad_fn();
    pick.set_next_edge(1, edge);
    Tensor place = y.detach();
    setNode(place, pick);
    place.register_hook(node.keep(new Backward(node)));

    Node pass = META.alias().grad_fn();
    pass.set_next_edge(0, new Edge(pick, 0));
    setNode(y, pass);
  }

  /** Makes a tensor that the graph frees; its deleter frees this object. */
  private Tensor ticket(Tensor like) {
    long id = LAST_ID.incrementAndGet();
    Address address = new Address(id);
    LIVE.put(id, this);
    boolean done = false;
    try {
      Tensor ticket =
          torch.from_blob(
              address, new long[0], DELETER, like.options(), new DeviceOptional(like.device()));
      done = true;
      return ticket.set_requires_grad(true);
    } finally {
      if (!done) {
        LIVE.remove(id);
        free();
      }
    }
  }

  /** Adds the branch to an input if that requires a gradient. Returns the edge into the branch. */
  private Edge branch(Role role, @Nullable Tensor input, Tensor scalarOfY, Edge other) {
    if (input == null || !input.requires_grad()) {
      return other;
    }
    long[] shape = PyTorch.shape(input);
    Tensor alias = input.alias();
    Node spread = metaLeaf(shape).sum().grad_fn();
    spread.set_next_edge(0, new Edge(alias.grad_fn(), 0));
    setInput(spread, scalar(input));
    branches.add(new Branch(role, shape, keep(spread)));
    alias.register_hook(keep(new Swap(this, role)));

    Node fork = torch.add(META, META).grad_fn();
    fork.set_next_edge(0, new Edge(spread, 0));
    fork.set_next_edge(1, other);
    setInput(fork, scalarOfY);
    return new Edge(fork, 0);
  }

  /** Declares that a node receives gradients of a tensor's shape, dtype and device. */
  private static void setInput(Node node, Tensor tensor) {
    node.clear_input_metadata();
    node.add_input_metadata(tensor);
  }

  /** Sets the gradient function of a tensor. */
  private static void setNode(Tensor tensor, Node node) {
    node.clear_input_metadata();
    torch.create_gradient_edge(tensor, node);
  }

  /** Returns a tensor without dimensions, of the same dtype and device. */
  private static Tensor scalar(Tensor like) {
    return torch.empty(new long[0], like.options(), ANY_FORMAT);
  }

  private static Tensor metaLeaf(long... shape) {
    return torch.empty(shape, META_OPTIONS, ANY_FORMAT).set_requires_grad(true);
  }

  /** Keeps an object, which the scope would free, until the graph is freed. */
  private <P extends Pointer> P keep(P pointer) {
    pointer.retainReference();
    kept.add(pointer);
    return pointer;
  }

  /**
   * Returns a tensor's memory without the graph; the caller releases it. With the graph, an
   * in-place operation could make a tensor depend on its own result: a reference cycle.
   */
  private static Tensor own(Tensor tensor) {
    return tensor.detach().retainReference();
  }

  /** Runs the norm's backward. Must run in a scope. */
  private synchronized void backward(Tensor dy) {
    if (GradMode.is_enabled()) {
      throw new UnsupportedOperationException(
          "create_graph: true; expected false, because norms support the first derivative only");
    }
    List<Branch> needed = branches.stream().filter(Branch::isNeeded).toList();
    if (needed.isEmpty()) {
      return;
    }
    Saved from = saved;
    if (from == null) {
      throw new IllegalStateException(
          "backward: second backward through the graph of "
              + norm
              + ", whose saved values are freed; expected retain_graph in the first backward");
    }
    requireUnchanged("x", from.x, from.xVersion);
    if (from.weight != null) {
      requireUnchanged("weight", from.weight, from.weightVersion);
    }
    Map<Role, Tensor> outputs = new EnumMap<>(Role.class);
    boolean done = false;
    try {
      for (Branch branch : needed) {
        outputs.put(branch.role, output(branch, dy));
      }
      run(from, dy, outputs);
      release(results.put(torch.get_current_graph_task_id(), outputs));
      done = true;
    } finally {
      if (!done) {
        release(outputs);
      }
    }
    if (!torch.get_current_graph_task_keep_graph()) {
      saved = null;
      from.free();
    }
  }

  private Tensor output(Branch branch, Tensor like) {
    DType dtype = branch.role == Role.X ? norm.inputDType() : norm.weightDType();
    return PyTorch.empty(branch.shape, dtype, like).retainReference();
  }

  private void run(Saved from, Tensor dy, Map<Role, Tensor> outputs) {
    Tensor dx = outputs.get(Role.X);
    Tensor dweight = outputs.get(Role.WEIGHT);
    Tensor dbias = outputs.get(Role.BIAS);
    Gradients gradients = dx == null ? Gradients.none() : Gradients.of(PyTorch.viewOf("dx", dx));
    if (dweight != null) {
      gradients = gradients.weight(PyTorch.viewOf("dweight", dweight), GradientMode.WRITE);
    }
    if (dbias != null) {
      gradients = gradients.bias(PyTorch.viewOf("dbias", dbias), GradientMode.WRITE);
    }
    CudaStream stream = PyTorch.stream(norm.device());
    TensorView x = PyTorch.viewOf("x", from.x);
    TensorView weight = from.weight == null ? null : PyTorch.viewOf("weight", from.weight);
    TensorView mean = from.mean == null ? null : PyTorch.viewOf("mean", from.mean);
    TensorView rstd = PyTorch.viewOf("rstd", from.rstd);
    TensorView dyView = PyTorch.viewOf("dy", PyTorch.viewable(dy));
    long bytes = norm.backwardWorkspaceBytes(x.rows(norm.normalizedShape().length), gradients);
    if (stream == null) {
      try (NativeBuffer workspace = NativeBuffer.allocate(bytes)) {
        norm.backward(x, weight, mean, rstd, dyView, gradients, workspace);
      }
    } else {
      // Serialised: a workspace belongs to a stream, and a backward enqueues several kernels there.
      synchronized (WORKSPACES) {
        OwnedMemory workspace = workspace(norm.device(), stream, bytes);
        norm.backward(x, weight, mean, rstd, dyView, gradients.stream(stream), workspace);
      }
    }
  }

  private static OwnedMemory workspace(Device device, CudaStream stream, long bytes) {
    long key = stream.address() * 31 + device.index();
    OwnedMemory present = WORKSPACES.get(key);
    if (present != null && present.bytes() >= bytes) {
      return present;
    }
    OwnedMemory grown = CudaBuffer.allocate(device, bytes);
    WORKSPACES.put(key, grown);
    if (present != null) {
      present.close();
    }
    return grown;
  }

  private static void requireUnchanged(String argument, Tensor tensor, long version) {
    if (tensor._version() != version) {
      throw new IllegalStateException(
          argument
              + ": changed in place since the forward (version "
              + tensor._version()
              + "); expected version "
              + version
              + ", because the backward reads it");
    }
  }

  /** Returns the gradient that the running backward has computed, or null. */
  private synchronized @Nullable Tensor take(Role role) {
    int task = torch.get_current_graph_task_id();
    Map<Role, Tensor> outputs = results.get(task);
    if (outputs == null) {
      return null;
    }
    Tensor output = outputs.remove(role);
    if (outputs.isEmpty()) {
      results.remove(task);
    }
    return output;
  }

  private static void release(@Nullable Map<Role, Tensor> outputs) {
    if (outputs != null) {
      outputs.values().forEach(Tensor::releaseReference);
      outputs.clear();
    }
  }

  private synchronized void free() {
    results.values().forEach(PyTorchNode::release);
    results.clear();
    Saved from = saved;
    saved = null;
    if (from != null) {
      from.free();
    }
    kept.forEach(Pointer::releaseReference);
    kept.clear();
    branches.clear();
  }

  private static void setReturned(@Nullable Tensor tensor) {
    Tensor last = RETURNED.get();
    if (tensor == null) {
      RETURNED.remove();
    } else {
      RETURNED.set(tensor);
    }
    if (last != null) {
      last.releaseReference();
    }
  }

  /** The hook that computes. */
  private static final class Backward extends TensorTensorHook {
    private final PyTorchNode node;

    Backward(PyTorchNode node) {
      this.node = node;
    }

    @Override
    @SuppressWarnings("try")
    public TensorBase call(TensorBase dy) {
      setReturned(null);
      try (PointerScope scope = new PointerScope()) {
        if (dy.defined()) {
          node.backward(new Tensor(dy));
        }
      } finally {
        dy.close();
      }
      return UNCHANGED;
    }
  }

  /** The hook that replaces the placeholder with a result. */
  private static final class Swap extends TensorTensorHook {
    private final PyTorchNode node;
    private final Role role;

    Swap(PyTorchNode node, Role role) {
      this.node = node;
      this.role = role;
    }

    @Override
    public TensorBase call(TensorBase spread) {
      spread.close();
      Tensor result = node.take(role);
      setReturned(result);
      return result == null ? UNCHANGED : result;
    }
  }

  /** The deleter that PyTorch calls when it frees a graph. */
  private static final class Deleter extends PointerConsumer {
    @Override
    public void call(Pointer address) {
      setReturned(null);
      PyTorchNode node = LIVE.remove(address.address());
      if (node == null) {
        return;
      }
      ArrayDeque<PyTorchNode> dying = DYING.get();
      if (dying != null) {
        dying.add(node);
        return;
      }
      dying = new ArrayDeque<>();
      DYING.set(dying);
      try {
        for (PyTorchNode next = node; next != null; next = dying.poll()) {
          next.free();
        }
      } finally {
        DYING.remove();
      }
    }
  }

  /** A pointer that holds a number. */
  private static final class Address extends Pointer {
    Address(long address) {
      this.address = address;
    }
  }
}
