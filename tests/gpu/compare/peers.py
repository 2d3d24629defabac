"""The libraries that Normcore is measured against, with a common interface.

peer.prepare(group, kind, inputs) returns work on set i that returns its results by name. It raises Missing for what the
peer does not support; any other exception is a failure of the peer. Neither ends the comparison.
"""

import importlib
import importlib.metadata

import torch
import torch.nn.functional as F

import cases
from tensors import EPSILON, TYPES


class Missing(Exception):
    """Why a peer is not measured, in a sentence."""


def peers_of(device, multiprocessors):
    """All peers by name. One that this Python or device lacks raises Missing when it is used."""
    return {
        "PyTorch": PyTorch(),
        "torch.compile": Compiled(),
        "HF compiled": HuggingFace(),
        "Triton": Triton(device, multiprocessors),
        "Liger": Liger(device),
        "QuACK": Quack(device),
        "cuDNN": Cudnn(device),
        "TransformerEngine": TransformerEngine(device),
    }


class Autograd:
    """A peer that is a differentiable function. norm_of returns it, as a function of x, residual, weight and bias. Its
    result is y or, with a residual, y and the sum."""

    # Whether the function needs a residual of the size of x even if it is zero.
    wants_whole_residual = False

    def begin_group(self):
        """Drops what was compiled for other shapes."""

    def norm_of(self, group, kind):
        raise NotImplementedError

    def parameters(self, inputs):
        """The parameters with gradients: weight and, for LayerNorm, bias."""
        return [v.detach().requires_grad_() for v in (inputs.weight, inputs.bias) if v is not None]

    def prepare(self, group, kind, inputs):
        norm = self.norm_of(group, kind)
        residual = kind in cases.RESIDUAL_KINDS
        if kind == cases.INFERENCE:

            def infer(i):
                with torch.no_grad():
                    return {"y": norm(inputs.x[i], None, inputs.weight, inputs.bias)}

            return infer

        x = [tensor.detach().requires_grad_() for tensor in inputs.x]
        parameters = self.parameters(inputs)
        weight, bias = parameters[0], parameters[1] if len(parameters) > 1 else None

        def forward(i, r):
            return norm(x[i], r, weight, bias)

        if kind not in cases.BACKWARD_KINDS:

            def train(i):
                if not residual:
                    return {"y": forward(i, None)}
                y, total = forward(i, inputs.residual[i])
                return {"y": y, "sum": total}

            return train

        # x stands for the residual sum, so nothing is added to it: the backward does not read the summands.
        zero = torch.zeros((), dtype=inputs.x[0].dtype, device=inputs.x[0].device)
        roots = []
        for i in range(inputs.sets):
            if not residual:
                roots.append([forward(i, None)])
                continue
            if self.wants_whole_residual:
                inputs.out[i].zero_()
            roots.append(list(forward(i, inputs.out[i] if self.wants_whole_residual else zero)))

        def backward(i):
            incoming = [inputs.dy[i], inputs.residual[i]] if residual else [inputs.dy[i]]
            gradients = torch.autograd.grad(roots[i], [x[i], *parameters], incoming, retain_graph=True)
            return dict(zip(("dx", "dweight", "dbias"), gradients))

        return backward


def _torch_norm(group):
    """PyTorch's usual expression of the group, including the residual."""
    n = group.n
    if group.op == "layer_norm":

        def norm(h, weight, bias):
            return F.layer_norm(h, (n,), weight, bias, EPSILON)
    else:
        if not hasattr(F, "rms_norm"):
            raise Missing(f"PyTorch {torch.__version__} has no rms_norm")

        def norm(h, weight, bias):
            return F.rms_norm(h, (n,), weight, EPSILON)

    return _with_residual(norm)


def _with_residual(norm):
    def both(x, residual, weight, bias):
        if residual is None:
            return norm(x, weight, bias)
        h = x + residual
        return norm(h, weight, bias), h

    return both


class PyTorch(Autograd):
    """torch.nn.functional's norms and their own backward."""

    def norm_of(self, group, kind):
        return _torch_norm(group)


class Compiled(Autograd):
    """The same under torch.compile: once per shape, never with dynamic shapes, never falling back to eager."""

    def __init__(self):
        self._compiled = {}

    def begin_group(self):
        if self._compiled:
            self._compiled = {}
            torch._dynamo.reset()

    def source(self, group):
        return _torch_norm(group)

    def norm_of(self, group, kind):
        key = (group, kind in cases.RESIDUAL_KINDS, kind == cases.INFERENCE)
        if key not in self._compiled:
            source = self.source(group)
            if not hasattr(torch, "compile"):
                raise Missing(f"PyTorch {torch.__version__} has no torch.compile")
            _configure_compiler()
            self._compiled[key] = torch.compile(source, dynamic=False, fullgraph=True)
        return self._compiled[key]


def _configure_compiler():
    import torch._dynamo.config
    import torch._functorch.config

    # Timing a backward repeatedly keeps its graph, which donated buffers do not allow.
    torch._functorch.config.donated_buffer = False
    # One code object serves every form of a group; beyond the limit it would silently run uncompiled.
    for name, value in (
        ("recompile_limit", 256),
        ("cache_size_limit", 256),
        ("accumulated_recompile_limit", 4096),
        ("fail_on_recompile_limit_hit", True),
    ):
        if hasattr(torch._dynamo.config, name):
            setattr(torch._dynamo.config, name, value)


class HuggingFace(Compiled):
    """The RMSNorm expression of transformers' Llama, Mistral and Qwen, under torch.compile."""

    def source(self, group):
        if group.op != "rms_norm":
            raise Missing("an expression for RMSNorm only")
        if group.weight_dtype != group.x_dtype:
            raise Missing(f"its y is of the weight's type, {group.weight_dtype}: other bytes than the others move")

        def norm(h, weight, bias):
            wide = h.to(torch.float32)
            wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPSILON)
            return weight * wide.to(h.dtype)

        return _with_residual(norm)


def _imported(name, why):
    try:
        return importlib.import_module(name)
    except Exception as e:
        raise Missing(f"{why} is not importable: {str(e).strip().splitlines()[0][:160] or type(e).__name__}") from e


def _on_a_gpu(device, what):
    if device.type != "cuda":
        raise Missing(f"{what} needs a GPU")


class Triton:
    """Our own Triton kernels: a lower bound for that family."""

    def __init__(self, device, multiprocessors):
        self._device, self._multiprocessors = device, multiprocessors

    def begin_group(self):
        pass

    def prepare(self, group, kind, inputs):
        kernels = _imported("triton_norm", "Triton")
        if group.n > kernels.LONGEST_ROW:
            raise Missing(f"a program holds rows of at most {kernels.LONGEST_ROW} elements")

        def forward(i):
            residual = inputs.residual[i] if kind == cases.RESIDUAL_FORWARD else None
            saves = kind != cases.INFERENCE
            y, total, _, _ = kernels.forward(inputs.x[i], residual, inputs.weight, inputs.bias, EPSILON, saves)
            return {"y": y} if total is None else {"y": y, "sum": total}

        if kind not in cases.BACKWARD_KINDS:
            return forward
        saved = [kernels.forward(x, None, inputs.weight, inputs.bias, EPSILON, True)[2:] for x in inputs.x]

        def backward(i):
            mean, rstd = saved[i]
            dresidual = inputs.residual[i] if kind == cases.RESIDUAL_BACKWARD else None
            dx, total = kernels.backward(
                inputs.x[i], inputs.weight, inputs.dy[i], mean, rstd, dresidual, self._multiprocessors
            )
            return dict(zip(("dx", "dweight", "dbias"), (dx, *total)))

        return backward


class Liger(Autograd):
    """Liger-Kernel's autograd functions; its fused residual for RMSNorm. dx gets its own memory, as elsewhere."""

    wants_whole_residual = True

    def __init__(self, device):
        self._device = device

    def norm_of(self, group, kind):
        _on_a_gpu(self._device, "Liger-Kernel")
        if group.op == "layer_norm":
            function = _imported("liger_kernel.ops.layer_norm", "Liger-Kernel").LigerLayerNormFunction

            def norm(h, weight, bias):
                return function.apply(h, weight, bias, EPSILON)

            return _with_residual(norm)
        function = _imported("liger_kernel.ops.rms_norm", "Liger-Kernel").LigerRMSNormFunction
        if kind not in cases.RESIDUAL_KINDS:
            return lambda x, residual, weight, bias: function.apply(x, weight, EPSILON, 0.0, "llama", False)
        fused = _imported("liger_kernel.ops.fused_add_rms_norm", "Liger-Kernel").LigerFusedAddRMSNormFunction
        return lambda x, residual, weight, bias: fused.apply(x, residual, weight, EPSILON, 0.0, "llama", False)


class Quack(Autograd):
    """QuACK's RMSNorm, with its residual; its LayerNorm has no autograd function, so forward and backward are called.
    """

    wants_whole_residual = True

    def __init__(self, device):
        self._device = device

    def norm_of(self, group, kind):
        module = _imported("quack.rmsnorm", "QuACK")
        residual_form = kind in cases.RESIDUAL_KINDS
        return lambda x, residual, weight, bias: module.rmsnorm(
            x, weight, residual=residual, eps=EPSILON, prenorm=residual_form
        )

    def prepare(self, group, kind, inputs):
        _on_a_gpu(self._device, "QuACK")
        if group.op == "rms_norm":
            return super().prepare(group, kind, inputs)
        if group.weight_dtype != "float32":
            raise Missing("its LayerNorm takes weights in float32 only")
        module = _imported("quack.rmsnorm", "QuACK")
        weight, bias = inputs.weight, inputs.bias

        def forward(i):
            x = inputs.x[i]
            if kind == cases.INFERENCE:
                return {"y": module.layernorm_fwd(x, weight, bias, EPSILON)}
            total = x + inputs.residual[i] if kind == cases.RESIDUAL_FORWARD else None
            y = module.layernorm_fwd(x if total is None else total, weight, bias, EPSILON, True, True)[0]
            return {"y": y} if total is None else {"y": y, "sum": total}

        if kind not in cases.BACKWARD_KINDS:
            return forward
        saved = [module.layernorm_fwd(x, weight, bias, EPSILON, True, True)[1:] for x in inputs.x]

        def backward(i):
            dx, dweight, dbias = module.layernorm_bwd(inputs.x[i], weight, inputs.dy[i], *saved[i], True)
            if kind == cases.RESIDUAL_BACKWARD:
                dx = dx + inputs.residual[i]
            return {"dx": dx, "dweight": dweight, "dbias": dbias}

        return backward


class TransformerEngine(Autograd):
    """TransformerEngine's modules, which cast x to the type of their weight."""

    def __init__(self, device):
        self._device = device

    def prepare(self, group, kind, inputs):
        _on_a_gpu(self._device, "TransformerEngine")
        if group.weight_dtype != group.x_dtype:
            raise Missing("its modules cast x to the weight's type")
        module = _imported("transformer_engine.pytorch", "TransformerEngine")
        made = {"rms_norm": module.RMSNorm, "layer_norm": module.LayerNorm}[group.op]
        self._norm = made(group.n, eps=EPSILON, device=inputs.x[0].device, dtype=TYPES[group.x_dtype])
        with torch.no_grad():
            self._norm.weight.copy_(inputs.weight)
            if inputs.bias is not None:
                self._norm.bias.copy_(inputs.bias)
        return super().prepare(group, kind, inputs)

    def parameters(self, inputs):
        return [self._norm.weight] + ([] if inputs.bias is None else [self._norm.bias])

    def norm_of(self, group, kind):
        norm = self._norm

        def of_parameters(h, weight, bias):
            return norm(h)

        return _with_residual(of_parameters)


class Cudnn:
    """cuDNN's graphs, by its Python front end; a separate kernel adds the residual."""

    def __init__(self, device):
        self._device, self._handle = device, None

    def begin_group(self):
        pass

    def prepare(self, group, kind, inputs):
        cudnn = _imported("cudnn", "cuDNN's Python front end")
        _on_a_gpu(self._device, "cuDNN")
        if self._handle is None:
            self._handle = cudnn.create_handle()
        cudnn.set_stream(handle=self._handle, stream=torch.cuda.current_stream().cuda_stream)
        norm = _CudnnNorm(cudnn, self._handle, group, inputs)
        saves = kind != cases.INFERENCE
        forward_graph = norm.forward_graph(saves)

        def forward(i):
            total = inputs.x[i] + inputs.residual[i] if kind == cases.RESIDUAL_FORWARD else None
            y = norm.forward(forward_graph, inputs.x[i] if total is None else total)[0]
            return {"y": y} if total is None else {"y": y, "sum": total}

        if kind not in cases.BACKWARD_KINDS:
            return forward
        saved = [norm.forward(forward_graph, x)[1:] for x in inputs.x]
        backward_graph = norm.backward_graph()

        def backward(i):
            results = norm.backward(backward_graph, inputs.x[i], inputs.dy[i], saved[i])
            if kind == cases.RESIDUAL_BACKWARD:
                results["dx"] = results["dx"] + inputs.residual[i]
            return results

        return backward


class _CudnnNorm:
    """Graphs of one shape. cuDNN's tensors here have four dimensions; the last two are 1."""

    def __init__(self, cudnn, handle, group, inputs):
        self._cudnn, self._handle, self._group = cudnn, handle, group
        self._is_layer_norm = group.op == "layer_norm"
        self._weight = inputs.weight.view(1, group.n, 1, 1)
        self._bias = None if inputs.bias is None else inputs.bias.view(1, group.n, 1, 1)
        self._x = inputs.x[0].view(group.rows, group.n, 1, 1)
        self._statistic = torch.empty(group.rows, 1, 1, 1, device=self._x.device)
        self._epsilon = torch.full((1, 1, 1, 1), EPSILON)
        self._workspace = None

    def _graph(self):
        single = self._cudnn.data_type.FLOAT
        return self._cudnn.pygraph(intermediate_data_type=single, compute_data_type=single, handle=self._handle)

    def _built(self, graph):
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([self._cudnn.heur_mode.A, self._cudnn.heur_mode.FALLBACK])
        graph.check_support()
        graph.build_plans()
        size = max(1, graph.get_workspace_size())
        if self._workspace is None or self._workspace.numel() < size:
            self._workspace = torch.empty(size, dtype=torch.uint8, device=self._x.device)
        return graph

    def forward_graph(self, saves):
        phases = self._cudnn.norm_forward_phase
        graph = self._graph()
        given = {"x": graph.tensor_like(self._x), "weight": graph.tensor_like(self._weight)}
        given["epsilon"] = graph.tensor_like(self._epsilon)
        arguments = {
            "norm_forward_phase": phases.TRAINING if saves else phases.INFERENCE,
            "input": given["x"], "scale": given["weight"], "epsilon": given["epsilon"],
        }  # fmt: skip
        if self._is_layer_norm:
            given["bias"] = arguments["bias"] = graph.tensor_like(self._bias)
            y, mean, rstd = graph.layernorm(name="layernorm", **arguments)
        else:
            y, rstd = graph.rmsnorm(name="rmsnorm", bias=None, **arguments)
            mean = None
        y.set_output(True).set_data_type(self._x.dtype)
        statistics = [s for s in (mean, rstd) if s is not None] if saves else []
        for statistic in statistics:
            statistic.set_output(True).set_data_type(torch.float32)
        return self._built(graph), given, y, statistics

    def forward(self, built, x):
        graph, given, y_of_graph, statistics_of_graph = built
        y = torch.empty_like(x)
        statistics = [torch.empty_like(self._statistic) for _ in statistics_of_graph]
        tensors = {given["x"]: x.view(self._x.shape), given["weight"]: self._weight, given["epsilon"]: self._epsilon}
        tensors[y_of_graph] = y.view(self._x.shape)
        tensors.update(zip(statistics_of_graph, statistics))
        if self._is_layer_norm:
            tensors[given["bias"]] = self._bias
        graph.execute(tensors, self._workspace, handle=self._handle)
        return [y, *statistics]

    def backward_graph(self):
        graph = self._graph()
        given = {name: graph.tensor_like(self._x) for name in ("x", "dy")}
        given["weight"] = graph.tensor_like(self._weight)
        given["rstd"] = graph.tensor_like(self._statistic)
        arguments = {
            "grad": given["dy"], "input": given["x"], "scale": given["weight"], "inv_variance": given["rstd"],
        }  # fmt: skip
        if self._is_layer_norm:
            given["mean"] = graph.tensor_like(self._statistic)
            outputs = graph.layernorm_backward(name="backward", mean=given["mean"], **arguments)
        else:
            outputs = graph.rmsnorm_backward(name="backward", has_dbias=False, **arguments)[:2]
        for output, dtype in zip(outputs, (self._x.dtype, self._weight.dtype, self._weight.dtype)):
            output.set_output(True).set_data_type(dtype)
        return self._built(graph), given, list(outputs)

    def backward(self, built, x, dy, saved):
        graph, given, outputs = built
        results = [torch.empty_like(x), *(torch.empty_like(self._weight) for _ in outputs[1:])]
        tensors = {given["x"]: x.view(self._x.shape), given["dy"]: dy.view(self._x.shape)}
        tensors[given["weight"]] = self._weight
        tensors[given["rstd"]] = saved[-1]
        if self._is_layer_norm:
            tensors[given["mean"]] = saved[0]
        tensors[outputs[0]] = results[0].view(self._x.shape)
        tensors.update(zip(outputs[1:], results[1:]))
        graph.execute(tensors, self._workspace, handle=self._handle)
        return dict(zip(("dx", "dweight", "dbias"), results))


def versions():
    """The installed packages that peers come from."""
    found = {}
    for package in ("torch", "triton", "liger-kernel", "quack-kernels", "nvidia-cudnn-frontend", "transformer-engine"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
