// Calls captured into a CUDA graph and replayed on new contents of the same memory give the CPU's bits each time. The
// plan does not know the addresses, and no earlier call has loaded the FP8 kernels.

#include <gtest/gtest.h>

#include "support/captured_graph.h"
#include "support/cuda_test.h"
#include "support/fp8.h"

namespace {

using namespace harness;

class CudaGraph : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string absence = CapturedGraph::absence(); !absence.empty()) GTEST_SKIP() << absence;
    check(nc_cuda_stream_create(0, &stream_));
  }
  void TearDown() override {
    if (stream_ != 0) check(nc_cuda_stream_destroy(0, stream_));
  }

  void put(Residence& at, Tensor& tensor, const Bits& bits) const {
    tensor.fill(bits);
    const auto* const memory = tensor.memory().data() + tensor.offset();
    check(nc_cuda_copy(0, at(tensor), reinterpret_cast<int64_t>(memory),
                       static_cast<int64_t>(bits.size()) * tensor.format().bytes, stream_));
    check(nc_cuda_stream_synchronize(0, stream_));
  }

  int64_t stream_ = 0;
};

// An aligned row, an unaligned one, one of several blocks.
TEST_F(CudaGraph, ForwardAndBackward) {
  for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
    for (const int64_t n : {1024, 769, 16392}) {
      Case c;
      c.spec = makeSpec(op, NC_BFLOAT16, NC_FLOAT32, NC_BFLOAT16, n);
      c.rows = 5;
      nc_norm_spec spec = c.spec;
      spec.device_type = NC_DEVICE_CUDA;
      const Plan plan(spec);
      const auto matrix = [&](int32_t dtype) { return Tensor(dtype, c.rows, n, n, 0); };
      const auto vector = [](int32_t dtype, int64_t length) { return Tensor(dtype, 1, length, length, 0); };
      int64_t workspace_bytes = 0;
      check(nc_norm_backward_workspace(plan, c.rows, 1, c.hasBias(), &workspace_bytes));
      Tensor x = matrix(NC_BFLOAT16), y = x, dy = x, dx = x, weight = vector(NC_FLOAT32, n), dweight = weight,
             bias = c.hasBias() ? weight : Tensor(), dbias = bias, rstd = vector(NC_FLOAT32, c.rows),
             mean = c.isLayerNorm() ? rstd : Tensor(), workspace = vector(NC_FLOAT64, workspace_bytes / 8);
      Residence at(0);
      for (Tensor* tensor : {&x, &y, &dy, &dx, &weight, &dweight, &bias, &dbias, &rstd, &mean, &workspace}) at(*tensor);
      check(nc_cuda_stream_synchronize(0, 0));

      auto forward = argsOf<nc_norm_forward_args>();
      forward.rows = c.rows;
      forward.x = at(x), forward.x_stride = n;
      forward.weight = at(weight), forward.bias = at(bias);
      forward.y = at(y), forward.y_stride = n;
      forward.mean = at(mean), forward.rstd = at(rstd);
      forward.stream = stream_;
      auto backward = argsOf<nc_norm_backward_args>();
      backward.rows = c.rows;
      backward.x = at(x), backward.x_stride = n;
      backward.weight = at(weight);
      backward.dy = at(dy), backward.dy_stride = n;
      backward.mean = at(mean), backward.rstd = at(rstd);
      backward.dx = at(dx), backward.dx_stride = n;
      backward.workspace = at(workspace), backward.workspace_bytes = workspace_bytes;
      backward.dweight = at(dweight), backward.dweight_dtype = NC_FLOAT32, backward.dweight_mode = NC_GRADIENT_WRITE;
      backward.dbias = at(dbias), backward.dbias_dtype = NC_FLOAT32;
      backward.dbias_mode = c.hasBias() ? NC_GRADIENT_WRITE : NC_GRADIENT_ABSENT;
      backward.stream = stream_;
      CapturedGraph::begin(stream_);
      check(nc_norm_forward(plan, &forward));
      check(nc_norm_backward(plan, &backward));
      const CapturedGraph graph(stream_);

      for (uint64_t seed = 1; seed <= 3; ++seed) {
        const Data data = draw(c, seed);
        put(at, x, data.x);
        put(at, dy, data.dy);
        put(at, weight, data.weight);
        if (c.hasBias()) put(at, bias, data.bias);
        graph.launch(stream_);
        check(nc_cuda_stream_synchronize(0, stream_));
        at.bringBack();
        Result result;
        result.y = y.contents();
        result.rstd = rstd.contents();
        result.dx = dx.contents();
        result.dweight = dweight.contents();
        if (c.isLayerNorm()) result.mean = mean.contents();
        if (c.hasBias()) result.dbias = dbias.contents();
        Case expected = c;
        expected.dweight_dtype = expected.dbias_dtype = NC_FLOAT32;
        EXPECT_TRUE(same(expected, run(expected, data), result)) << "replay " << seed;
      }
    }
  }
}

// The plan of FP8 conversions does not load their kernels: this test captures the first call.
TEST_F(CudaGraph, Fp8) {
  Tensor x(NC_FLOAT32, 1, 4, 4, 0), amax(NC_FLOAT32, 1, 1, 1, 0), scale = amax, q(NC_FLOAT8_E4M3, 1, 4, 4, 0);
  Residence at(0);
  for (Tensor* tensor : {&x, &amax, &scale, &q}) at(*tensor);
  check(nc_cuda_stream_synchronize(0, 0));
  const fp8::Fp8Plan plan(fp8::makeFp8(NC_FLOAT32, NC_FLOAT8_E4M3, NC_SCALING_TENSOR, 0, 0));
  nc_fp8_args args = fp8::argsOf(1, 4);
  args.x = at(x), args.x_stride = 4;
  args.q = at(q), args.q_stride = 4;
  args.count = 1;
  args.amax = at(amax), args.scale = at(scale);
  args.stream = stream_;
  CapturedGraph::begin(stream_);
  check(nc_cuda_zero(0, at(amax), 4, stream_));
  check(nc_fp8_amax(plan, &args));
  check(nc_fp8_scale(plan, &args));
  check(nc_fp8_quantize(plan, &args));
  const CapturedGraph graph(stream_);
  const reference::Format& f32 = reference::format(NC_FLOAT32);
  for (const double largest : {448.0, 7.0, 3.5}) {
    put(at, x, {reference::encode(f32, largest), reference::encode(f32, -largest / 2), 0, reference::encode(f32, 0)});
    graph.launch(stream_);
    check(nc_cuda_stream_synchronize(0, stream_));
    at.bringBack();
    EXPECT_EQ(reference::encode(f32, largest), amax.bits(0, 0));
    EXPECT_EQ((Bits{0x7e, 0xf6, 0, 0}), q.contents()) << largest;  // 448, -224
  }
}

}  // namespace
