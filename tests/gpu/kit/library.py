"""Python binding of Normcore's C interface (normcore.h): norm plans, and calls with addresses.

Addresses are plain integers, so that no framework is needed: a PyTorch tensor's is tensor.data_ptr(), 0 means absent.
"""

import contextlib
import ctypes
import os
import shutil
import tempfile

DTYPES = {"float64": 0, "float32": 1, "bfloat16": 2, "float16": 3}
OPS = {"rms_norm": 0, "layer_norm": 1}
ROUNDINGS = {"compute": 0, "input": 1, "weight": 2}
WEIGHT, WEIGHT_AND_BIAS = 1, 3
GRADIENT_ABSENT, GRADIENT_WRITE = 0, 1
CPU, CUDA = 0, 1
VARIABLE = "NORMCORE_CUDA_LIBRARY"

_i32, _i64, _out = ctypes.c_int32, ctypes.c_int64, ctypes.POINTER(ctypes.c_int64)


class Spec(ctypes.Structure):
    """nc_norm_spec."""

    _fields_ = (
        [("struct_size", ctypes.c_uint32)]
        + [
            (name, _i32)
            for name in (
                "op x_dtype weight_dtype y_dtype affine scale_rounding gamma_offset variance compute residual_rounding"
                " cpu_level"
            ).split()
        ]
        + [("hidden_size", _i64), ("epsilon", ctypes.c_double)]
        + [(name, _i32) for name in "device_type device_index y_scaling y_power_of_two dy_dtype".split()]
    )


def _args(names):
    """Fields of a structure of operands: int64, or int32 for names that end in "*"."""
    fields = [(name[:-1], _i32) if name.endswith("*") else (name, _i64) for name in names.split()]
    return [("struct_size", ctypes.c_uint32), ("reserved", _i32)] + fields


class ForwardArgs(ctypes.Structure):
    """nc_norm_forward_args."""

    _fields_ = _args(
        "rows x x_stride residual residual_stride weight bias y y_stride residual_out residual_out_stride mean rstd"
        " y_scale y_amax y_scale_inv stream"
    )


class BackwardArgs(ctypes.Structure):
    """nc_norm_backward_args."""

    _fields_ = _args(
        "rows x x_stride weight dy dy_stride mean rstd dresidual dresidual_stride dx dx_stride workspace"
        " workspace_bytes dweight dbias dweight_dtype* dweight_mode* dbias_dtype* dbias_mode* stream"
    )


class Device(ctypes.Structure):
    """nc_cuda_device."""

    _fields_ = [
        ("struct_size", ctypes.c_uint32), ("compute_capability", _i32), ("multiprocessors", _i32), ("reserved", _i32),
        ("memory_bytes", _i64), ("name", ctypes.c_char * 256),
    ]  # fmt: skip


_FUNCTIONS = {
    "nc_norm_plan_create": [ctypes.POINTER(Spec), _out],
    "nc_norm_plan_destroy": [_i64],
    "nc_norm_forward": [_i64, ctypes.POINTER(ForwardArgs)],
    "nc_norm_backward_workspace": [_i64, _i64, _i32, _i32, _out],
    "nc_norm_backward": [_i64, ctypes.POINTER(BackwardArgs)],
    "nc_cuda_device_count": [ctypes.POINTER(_i32)],
    "nc_cuda_device_query": [_i32, _i64],
    "nc_cuda_allocate": [_i32, _i64, _out],
    "nc_cuda_free": [_i32, _i64],
    "nc_cuda_copy": [_i32, _i64, _i64, _i64, _i64],
    "nc_cuda_stream_synchronize": [_i32, _i64],
}
# Optional functions of a library.
_LATER = {"nc_cuda_norm_kernels": [_i64, _i64, _i64]}
_KERNELS_BYTES = 1 << 14


class Library:
    """The norm functions of normcore.h; raises an exception for a status other than 0.

    plugin: the libnormcore_cuda.so to use instead of the one that the library would find. The library looks for its
    plugin once, and the dynamic linker loads a file once, so this class loads a copy of the library: a process can
    compare any number of plugins.
    """

    def __init__(self, path, plugin=None):
        if plugin is None:
            self._load(path)
            return
        plugin = os.path.abspath(plugin)
        if not os.path.isfile(plugin):
            raise FileNotFoundError(f"{plugin}: there is no such plugin")
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "libnormcore.so")
            shutil.copyfile(path, copy)
            with _environment(VARIABLE, plugin):
                self._load(copy)
                # The library looks for its plugin at the first CUDA call.
                self.nc_cuda_device_count(ctypes.byref(_i32()))

    def _load(self, path):
        self._library = ctypes.CDLL(os.path.abspath(path))
        self._library.nc_last_error.restype = ctypes.c_char_p
        for name, arguments in {**_FUNCTIONS, **_LATER}.items():
            if name in _LATER and not hasattr(self._library, name):
                continue
            function = getattr(self._library, name)
            function.argtypes = arguments
            function.restype = _i32
            setattr(self, name, self._checked(name, function))

    def _checked(self, name, function):
        def call(*arguments):
            status = function(*arguments)
            if status != 0:
                raise RuntimeError(f"{name}: status {status}: {self._library.nc_last_error().decode()}")

        return call

    def device_count(self):
        count = _i32()
        self.nc_cuda_device_count(ctypes.byref(count))
        return count.value

    def device(self, index):
        """Name and compute capability (90 for 9.0) of a CUDA device."""
        answer = Device()
        answer.struct_size = ctypes.sizeof(Device)
        self.nc_cuda_device_query(index, ctypes.addressof(answer))
        return answer.name.decode(errors="replace"), answer.compute_capability

    def plan(self, op, hidden_size, x="float32", weight=None, device=None, epsilon=1e-5, rounding="compute"):
        """A plan whose y has the type of x. LayerNorm has a bias. device: the index of a CUDA device; None: the CPU."""
        spec = Spec()
        spec.struct_size = ctypes.sizeof(Spec)
        spec.op = OPS[op]
        spec.x_dtype = spec.y_dtype = DTYPES[x]
        spec.weight_dtype = DTYPES[weight or x]
        spec.affine = WEIGHT_AND_BIAS if op == "layer_norm" else WEIGHT
        spec.scale_rounding = ROUNDINGS[rounding]
        spec.hidden_size = hidden_size
        spec.epsilon = epsilon
        spec.device_type = CPU if device is None else CUDA
        spec.device_index = device or 0
        return Plan(self, spec)


class Plan:
    """A norm over contiguous rows, on the CPU (in the calling thread) or on a CUDA device (in a stream)."""

    def __init__(self, library, spec):
        self.library = library
        self.hidden_size = spec.hidden_size
        self.has_bias = spec.affine == WEIGHT_AND_BIAS
        self._weight_dtype = spec.weight_dtype
        handle = _i64()
        library.nc_norm_plan_create(ctypes.byref(spec), ctypes.byref(handle))
        self.handle = handle.value

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.library.nc_norm_plan_destroy(self.handle)
        self.handle = 0

    def kernels(self):
        """The kernels of a CUDA plan as pairs: the role, and the kernel's name or "left out: " and the reason. None if
        the library does not support this."""
        if not hasattr(self.library, "nc_cuda_norm_kernels"):
            return None
        text = ctypes.create_string_buffer(_KERNELS_BYTES)
        self.library.nc_cuda_norm_kernels(self.handle, ctypes.addressof(text), _KERNELS_BYTES)
        lines = text.value.decode(errors="replace").splitlines()
        return [tuple(line.split(": ", 1)) for line in lines if ": " in line]

    def workspace_bytes(self, rows):
        """Workspace bytes of a backward of this many rows."""
        size = _i64()
        self.library.nc_norm_backward_workspace(self.handle, rows, 1, int(self.has_bias), ctypes.byref(size))
        return size.value

    def forward(self, rows, x, weight, bias, y, mean=0, rstd=0, residual=0, residual_out=0, stream=0):
        """mean and rstd 0: inference. With a residual, x + residual is stored in residual_out and normalised."""
        n = self.hidden_size
        args = ForwardArgs(
            ctypes.sizeof(ForwardArgs), rows=rows, x=x, residual=residual, weight=weight, bias=bias, y=y,
            residual_out=residual_out, mean=mean, rstd=rstd, x_stride=n, residual_stride=n, y_stride=n,
            residual_out_stride=n, stream=stream,
        )  # fmt: skip
        self.library.nc_norm_forward(self.handle, ctypes.byref(args))

    def backward(
        self, rows, x, weight, dy, mean, rstd, dx, dweight, dbias, workspace, workspace_bytes, dresidual=0, stream=0
    ):
        """dweight and dbias have the weight's type. The workspace is 8-byte aligned, in the plan's memory."""
        n = self.hidden_size
        dtype = self._weight_dtype
        args = BackwardArgs(
            ctypes.sizeof(BackwardArgs), rows=rows, x=x, weight=weight, dy=dy, mean=mean, rstd=rstd,
            dresidual=dresidual, dx=dx, workspace=workspace, workspace_bytes=workspace_bytes, dweight=dweight,
            dbias=dbias, dweight_dtype=dtype, dbias_dtype=dtype, dweight_mode=GRADIENT_WRITE,
            dbias_mode=GRADIENT_WRITE if self.has_bias else GRADIENT_ABSENT, x_stride=n, dy_stride=n,
            dresidual_stride=n, dx_stride=n, stream=stream,
        )  # fmt: skip
        self.library.nc_norm_backward(self.handle, ctypes.byref(args))


@contextlib.contextmanager
def _environment(name, value):
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
