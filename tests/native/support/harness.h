// Runs the library on a case, in any form that must not change a bit, and predicts the same case with the model.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/reduction_order.h"
#include "normcore/normcore.h"
#include "support/reference.h"
#include "support/tensor.h"

namespace harness {

using Bits = std::vector<uint64_t>;

// The computation.
struct Case {
  nc_norm_spec spec{};
  int64_t rows = 3;
  bool residual = false;   // forward: x + residual
  bool dresidual = false;  // backward: + dresidual
  bool dx = true;
  int32_t dweight_mode = NC_GRADIENT_WRITE, dbias_mode = NC_GRADIENT_WRITE;  // only if there is a weight or a bias
  int32_t dweight_dtype = NC_FLOAT32, dbias_dtype = NC_FLOAT32;

  bool hasWeight() const { return reference::hasWeight(spec.affine); }
  bool hasBias() const { return reference::hasBias(spec.affine); }
  bool isLayerNorm() const { return spec.op == NC_LAYER_NORM; }
  bool isQuantized() const { return spec.y_scaling != NC_SCALING_NONE; }
  int32_t dyFormat() const { return isQuantized() ? spec.dy_dtype : spec.y_dtype; }
  int64_t blocks() const { return (spec.hidden_size + NC_SCALE_BLOCK - 1) / NC_SCALE_BLOCK; }
  int32_t computeFormat() const { return spec.compute == NC_COMPUTE_FLOAT64 ? NC_FLOAT64 : NC_FLOAT32; }
  int32_t dweightMode() const { return hasWeight() ? dweight_mode : NC_GRADIENT_ABSENT; }
  int32_t dbiasMode() const { return hasBias() ? dbias_mode : NC_GRADIENT_ABSENT; }
  std::string describe() const;
};

// The input data.
struct Data {
  Bits x, residual, weight, bias, dy, dresidual;
  Bits dweight, dbias;  // initial contents of the gradient buffers
  float y_scale = 1;    // of NC_SCALING_TENSOR
};

// The form of the call: nothing in here may change a bit.
struct Form {
  int32_t level = NC_CPU_BEST;
  int32_t cuda_device = -1;  // run whole on this device; levels and cuts are for the CPU
  int64_t extra_stride = 0;  // additional elements between rows
  size_t offset = 0;         // bytes after a 64-byte boundary; the workspace and the statistics stay aligned
  size_t spread = 0;         // if not 0: tensor i is shifted by that many bytes times i, at whole elements
  int64_t row_cut = 0, group_cut = 0, column_cut = 0;  // maximum per call; 0: all. Later ranges run first.
  enum Place { kOwn, kX, kResidual, kDy } y = kOwn, residual_out = kOwn, dx = kOwn;
  bool saves = true;  // mean and rstd; a backward requires them
};

struct Result {
  Bits y, residual_out, mean, rstd, dx, dweight, dbias;
  Bits y_amax = {}, y_scale_inv = {};  // of a quantised y: float32, except for NC_SCALING_BLOCK, whose scales are bytes
};

inline void check(int32_t status) {
  if (status != NC_OK) throw std::runtime_error("status " + std::to_string(status) + ": " + nc_last_error());
}

inline nc_norm_spec makeSpec(int32_t op, int32_t x, int32_t weight, int32_t y, int64_t n) {
  nc_norm_spec spec{};
  spec.struct_size = sizeof(spec);
  spec.op = op;
  spec.x_dtype = x;
  spec.weight_dtype = weight;
  spec.y_dtype = y;
  spec.affine = op == NC_RMS_NORM ? NC_AFFINE_WEIGHT : NC_AFFINE_WEIGHT_AND_BIAS;
  spec.hidden_size = n;
  spec.epsilon = 1e-5;
  return spec;
}

class Plan {
 public:
  explicit Plan(const nc_norm_spec& spec) { check(nc_norm_plan_create(&spec, &handle_)); }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  ~Plan() { nc_norm_plan_destroy(handle_); }
  operator int64_t() const { return handle_; }

 private:
  int64_t handle_ = 0;
};

inline std::string Case::describe() const {
  const auto name = [](int32_t code) { return std::string(reference::format(code).name); };
  const nc_norm_spec& s = spec;
  return std::string(isLayerNorm() ? "layer_norm" : "rms_norm") + " " + name(s.x_dtype) + "," + name(s.weight_dtype) +
         "->" + name(s.y_dtype) + " affine " + std::to_string(s.affine) + " rounding " +
         std::to_string(s.scale_rounding) + " offset " + std::to_string(s.gamma_offset) + " variance " +
         std::to_string(s.variance) + " compute " + std::to_string(s.compute) + " residual rounding " +
         std::to_string(s.residual_rounding) +
         (isQuantized() ? " scaling " + std::to_string(s.y_scaling) + (s.y_power_of_two ? " by powers of two" : "")
                        : "") +
         (residual ? " +residual" : "") + (dresidual ? " +dresidual" : "") + " " + std::to_string(rows) + " x " +
         std::to_string(s.hidden_size);
}

// Rounding x offset x affine x output type x compute type x residual form x variance: all combinations, each at one of
// the sizes and with one of the gradient modes in turn. Continues while body(case, turn) returns true.
template <class Body>
void forEveryCombination(int32_t op, int32_t x, int32_t w, const std::vector<int64_t>& sizes, Body body) {
  uint64_t turn = 0;
  for (const int32_t y : {NC_FLOAT64, NC_FLOAT32, NC_BFLOAT16, NC_FLOAT16}) {
    for (int32_t rounding = 0; rounding < 3; ++rounding) {
      for (int32_t offset = 0; offset < 3; ++offset) {
        for (int32_t affine = 0; affine < 4; ++affine) {
          if (!reference::hasWeight(affine) && offset != NC_GAMMA_NONE) continue;
          for (int32_t compute = 0; compute < 2; ++compute) {
            for (int32_t residual = 0; residual < 3; ++residual) {
              for (int32_t variance = 0; variance < (op == NC_LAYER_NORM ? 3 : 1); ++variance) {
                ++turn;
                Case c;
                c.spec = makeSpec(op, x, w, y, sizes[turn * 7 / 3 % sizes.size()]);
                c.spec.affine = affine;
                c.spec.scale_rounding = rounding;
                c.spec.gamma_offset = offset;
                c.spec.compute = compute;
                c.spec.variance = variance;
                c.spec.residual_rounding = residual == 2 ? NC_RESIDUAL_COMPUTE : NC_RESIDUAL_INPUT;
                c.residual = residual != 0;
                c.dresidual = residual != 0;
                c.rows = 1 + static_cast<int64_t>(turn % 3);
                c.dweight_dtype = turn % 4 < 2 ? w : NC_FLOAT32;
                c.dbias_dtype = turn % 8 < 4 ? w : NC_FLOAT32;
                if (turn % 4 == 3) c.dweight_mode = NC_GRADIENT_ACCUMULATE;
                if (turn % 16 >= 12) c.dbias_mode = NC_GRADIENT_ACCUMULATE;
                if (!body(c, turn)) return;
              }
            }
          }
        }
      }
    }
  }
}

inline Bits drawBits(std::mt19937_64& random, int32_t dtype, int64_t count, double mean, double spread) {
  std::normal_distribution<double> normal(mean, spread);
  Bits bits(static_cast<size_t>(count));
  for (uint64_t& b : bits) b = reference::encode(reference::format(dtype), normal(random));
  return bits;
}

inline Data draw(const Case& c, uint64_t seed, double mean = 0.3, double spread = 1.5) {
  std::mt19937_64 random(seed);
  const int64_t n = c.spec.hidden_size, size = c.rows * n;
  Data d;
  d.x = drawBits(random, c.spec.x_dtype, size, mean, spread);
  if (c.residual) d.residual = drawBits(random, c.spec.x_dtype, size, 0, spread);
  const double centre = c.spec.gamma_offset == NC_GAMMA_NONE ? 1 : 0;
  if (c.hasWeight()) d.weight = drawBits(random, c.spec.weight_dtype, n, centre, 0.3);
  if (c.hasBias()) d.bias = drawBits(random, c.spec.weight_dtype, n, 0, 0.3);
  d.dy = drawBits(random, c.dyFormat(), size, 0.1, 1);
  if (c.dresidual) d.dresidual = drawBits(random, c.spec.x_dtype, size, 0, 1);
  d.dweight = drawBits(random, c.dweight_dtype, n, 0, 1);
  d.dbias = drawBits(random, c.dbias_dtype, n, 0, 1);
  // Some values beyond the largest, some among the subnormals.
  d.y_scale = c.spec.y_dtype == NC_FLOAT8_E4M3 ? 117.3f : 14321.7f;
  return d;
}

// Calls body(begin, end) for ranges of at most `cut` over 0 .. count - 1, the last range first.
template <class Body>
void inRanges(int64_t count, int64_t cut, Body body) {
  if (cut <= 0) return body(0, count);
  for (int64_t begin = (count - 1) / cut * cut; begin >= 0; begin -= cut) body(begin, std::min(count, begin + cut));
}

// Operands that are all absent.
template <class Args>
Args argsOf() {
  Args args{};
  args.struct_size = sizeof(Args);
  return args;
}

// A call that was begun, to run in ranges.
class RangedCall {
 public:
  template <class Begin, class Args>
  RangedCall(Begin begin, int64_t plan, const Args& args) {
    check(begin(plan, &args, memory_, units_));
  }
  int64_t units(int32_t phase) const { return units_[phase]; }
  void run(int32_t phase, int64_t begin, int64_t end) const { check(nc_call_run(memory_, phase, begin, end)); }
  // Runs a phase in ranges of at most `cut` units, the last range first.
  void runPhase(int32_t phase, int64_t cut) const {
    inRanges(units_[phase], cut, [&](int64_t begin, int64_t end) { run(phase, begin, end); });
  }

 private:
  alignas(NC_CALL_ALIGNMENT) unsigned char memory_[NC_CALL_BYTES];
  int64_t units_[2];
};

// The memory of a call's tensors: their own or, during the call, that of a CUDA device.
class Residence {
 public:
  explicit Residence(int32_t cuda_device) : device_(cuda_device) {}
  Residence(const Residence&) = delete;
  Residence& operator=(const Residence&) = delete;
  ~Residence() {
    for (const Guest& guest : guests_) nc_cuda_free(device_, guest.base);
  }

  // The address of element (0, 0); 0 for an absent tensor.
  int64_t operator()(Tensor& tensor) {
    if (device_ < 0 || !tensor.present()) return tensor.address();
    for (const Guest& guest : guests_) {
      if (guest.tensor == &tensor) return guest.memory + static_cast<int64_t>(tensor.offset());
    }
    Guest guest{&tensor, 0, 0};
    const auto bytes = static_cast<int64_t>(tensor.memory().size());
    // Device memory is 256-byte aligned; the elements start at the tensor's offset from a 64-byte boundary.
    const auto before = static_cast<int64_t>((64 - (tensor.offset() - tensor.misalignment()) % 64) % 64);
    check(nc_cuda_allocate(device_, std::max<int64_t>(bytes + before, 1), &guest.base));
    guest.memory = guest.base + before;
    if (bytes > 0) check(nc_cuda_copy(device_, guest.memory, hostAddress(tensor), bytes, 0));
    guests_.push_back(guest);
    return guest.memory + static_cast<int64_t>(tensor.offset());
  }

  // Synchronises with the device and copies the tensors back, including their surroundings.
  void bringBack() {
    if (device_ >= 0) check(nc_cuda_stream_synchronize(device_, 0));
    for (const Guest& guest : guests_) {
      const auto bytes = static_cast<int64_t>(guest.tensor->memory().size());
      if (bytes > 0) check(nc_cuda_copy(device_, hostAddress(*guest.tensor), guest.memory, bytes, 0));
    }
    if (device_ >= 0) check(nc_cuda_stream_synchronize(device_, 0));
  }

 private:
  struct Guest {
    Tensor* tensor;
    int64_t base, memory;
  };
  static int64_t hostAddress(Tensor& tensor) { return reinterpret_cast<int64_t>(tensor.memory().data()); }

  int32_t device_;
  std::vector<Guest> guests_;
};

inline void expectUntouched(const Tensor& tensor, const std::vector<uint8_t>& before, const char* name) {
  EXPECT_TRUE(tensor.memory() == before) << name << " is an input and was changed";
}

// The start offsets of a call's tensors, one after the other.
class Offsets {
 public:
  explicit Offsets(const Form& form) : next_(form.offset), spread_(form.spread) {}
  size_t operator()(int32_t dtype) {
    const size_t offset = next_;
    next_ += spread_;
    const auto bytes = static_cast<size_t>(reference::format(dtype).bytes);
    return spread_ == 0 ? offset : offset / bytes * bytes;
  }

 private:
  size_t next_, spread_;
};

inline void runForward(const Case& c, const Data& d, const Form& form, int64_t plan, Result& result) {
  const int64_t n = c.spec.hidden_size, stride = n + form.extra_stride;
  Offsets offset(form);
  const auto tensor = [&](int32_t dtype, const Bits& bits) {
    Tensor t(dtype, c.rows, n, stride, offset(dtype));
    t.fill(bits);
    return t;
  };
  const auto row = [&](bool present, const Bits& bits) {
    if (!present) return Tensor();
    Tensor t(c.spec.weight_dtype, 1, n, n, offset(c.spec.weight_dtype));
    t.fill(bits);
    return t;
  };
  Tensor x = tensor(c.spec.x_dtype, d.x), residual, own_y, own_out, mean, rstd;
  if (c.residual) residual = tensor(c.spec.x_dtype, d.residual);
  Tensor weight = row(c.hasWeight(), d.weight), bias = row(c.hasBias(), d.bias);
  const auto place = [&](Form::Place where, int32_t dtype, Tensor& own) -> Tensor& {
    if (where == Form::kX) return x;
    if (where == Form::kResidual) return residual;
    own = Tensor(dtype, c.rows, n, stride, offset(dtype));
    return own;
  };
  Tensor& y = place(form.y, c.spec.y_dtype, own_y);
  Tensor& out = c.residual ? place(form.residual_out, c.spec.x_dtype, own_out) : own_out;
  if (form.saves) rstd = Tensor(c.computeFormat(), 1, c.rows, c.rows, 0);
  if (form.saves && c.isLayerNorm()) mean = Tensor(c.computeFormat(), 1, c.rows, c.rows, 0);
  Tensor y_scale, y_amax, y_scale_inv;
  if (c.spec.y_scaling == NC_SCALING_TENSOR) {
    y_scale = Tensor(NC_FLOAT32, 1, 1, 1, 0);
    y_scale.fill({reference::encode(reference::format(NC_FLOAT32), d.y_scale)});
    y_amax = Tensor(NC_FLOAT32, 1, 1, 1, 0);
    y_amax.fill({0});
  }
  if (c.spec.y_scaling == NC_SCALING_ROW) y_scale_inv = Tensor(NC_FLOAT32, 1, c.rows, c.rows, 0);
  // As bytes: no test reads them as FP8.
  const int64_t blocks = c.rows * c.blocks();
  if (c.spec.y_scaling == NC_SCALING_BLOCK) y_scale_inv = Tensor(NC_FLOAT8_E4M3, 1, blocks, blocks, form.offset);
  const std::vector<uint8_t> x_before = x.memory(), residual_before = residual.memory(),
                             weight_before = weight.memory(), bias_before = bias.memory(),
                             y_scale_before = y_scale.memory();
  Residence at(form.cuda_device);
  auto args = argsOf<nc_norm_forward_args>();
  args.rows = c.rows;
  args.x = at(x), args.x_stride = stride;
  args.residual = at(residual), args.residual_stride = stride;
  args.weight = at(weight);
  args.bias = at(bias);
  args.y = at(y), args.y_stride = stride;
  args.residual_out = at(out), args.residual_out_stride = stride;
  args.mean = at(mean);
  args.rstd = at(rstd);
  args.y_scale = at(y_scale);
  args.y_amax = at(y_amax);
  args.y_scale_inv = at(y_scale_inv);
  if (form.cuda_device < 0 && form.row_cut > 0) {
    RangedCall call(nc_norm_forward_begin, plan, args);
    call.runPhase(0, form.row_cut);
  } else {
    check(nc_norm_forward(plan, &args));
  }
  at.bringBack();
  result.y = form.y == Form::kOwn ? y.contents() : Bits();
  if (form.y != Form::kOwn) {  // read as the output's type, which may be another one of the same size
    Tensor seen(c.spec.y_dtype, c.rows, n, n, 0);
    for (int64_t r = 0; r < c.rows; ++r) {
      for (int64_t i = 0; i < n; ++i) seen.setBits(r, i, y.bits(r, i));
    }
    result.y = seen.contents();
  }
  if (c.residual) result.residual_out = out.contents();
  if (mean.present()) result.mean = mean.contents();
  if (rstd.present()) result.rstd = rstd.contents();
  if (y_amax.present()) result.y_amax = y_amax.contents();
  if (y_scale_inv.present()) result.y_scale_inv = y_scale_inv.contents();
  for (const Tensor* t : {&x, &residual, &y, &out, &mean, &rstd, &y_amax, &y_scale_inv}) {
    EXPECT_TRUE(!t->present() || t->surroundingsIntact()) << "forward wrote outside its tensors";
  }
  if (form.y != Form::kX && form.residual_out != Form::kX) expectUntouched(x, x_before, "x");
  if (form.y != Form::kResidual && form.residual_out != Form::kResidual) {
    expectUntouched(residual, residual_before, "residual");
  }
  expectUntouched(weight, weight_before, "weight");
  expectUntouched(bias, bias_before, "bias");
  expectUntouched(y_scale, y_scale_before, "y_scale");
}

inline void runBackward(const Case& c, const Data& d, const Form& form, int64_t plan, Result& result) {
  const int64_t n = c.spec.hidden_size, stride = n + form.extra_stride;
  Offsets offset(form);
  const auto tensor = [&](int32_t dtype, const Bits& bits) {
    Tensor t(dtype, c.rows, n, stride, offset(dtype));
    t.fill(bits);
    return t;
  };
  const auto row = [&](int32_t dtype, bool present, int64_t length, const Bits& bits, size_t at) {
    if (!present) return Tensor();
    Tensor t(dtype, 1, length, length, at);
    t.fill(bits);
    return t;
  };
  const int32_t dweight_mode = c.dweightMode(), dbias_mode = c.dbiasMode();
  Tensor x = tensor(c.spec.x_dtype, c.residual ? result.residual_out : d.x), dy = tensor(c.dyFormat(), d.dy);
  Tensor dresidual, own_dx;
  if (c.dresidual) dresidual = tensor(c.spec.x_dtype, d.dresidual);
  if (c.dx && form.dx == Form::kOwn) own_dx = Tensor(c.spec.x_dtype, c.rows, n, stride, offset(c.spec.x_dtype));
  Tensor& dx = form.dx == Form::kX ? x : form.dx == Form::kDy ? dy : form.dx == Form::kResidual ? dresidual : own_dx;
  Tensor weight = row(c.spec.weight_dtype, c.hasWeight(), n, d.weight, offset(c.spec.weight_dtype));
  Tensor mean = row(c.computeFormat(), c.isLayerNorm(), c.rows, result.mean, 0);
  Tensor rstd = row(c.computeFormat(), true, c.rows, result.rstd, 0);
  const bool wants_dweight = dweight_mode != NC_GRADIENT_ABSENT, wants_dbias = dbias_mode != NC_GRADIENT_ABSENT;
  Tensor dweight = row(c.dweight_dtype, wants_dweight, n, d.dweight, form.offset);
  Tensor dbias = row(c.dbias_dtype, wants_dbias, n, d.dbias, form.offset);
  int64_t bytes = 0;
  check(nc_norm_backward_workspace(plan, c.rows, wants_dweight, wants_dbias, &bytes));
  Tensor workspace;
  if (bytes > 0) workspace = Tensor(NC_FLOAT64, 1, (bytes + 7) / 8, (bytes + 7) / 8, 0);
  const std::vector<uint8_t> x_before = x.memory(), dy_before = dy.memory(), dresidual_before = dresidual.memory(),
                             weight_before = weight.memory(), mean_before = mean.memory(), rstd_before = rstd.memory();
  Residence at(form.cuda_device);
  auto args = argsOf<nc_norm_backward_args>();
  args.rows = c.rows;
  args.x = at(x), args.x_stride = stride;
  args.weight = at(weight);
  args.dy = at(dy), args.dy_stride = stride;
  args.mean = at(mean);
  args.rstd = at(rstd);
  args.dresidual = at(dresidual), args.dresidual_stride = stride;
  args.dx = at(dx), args.dx_stride = stride;
  args.workspace = at(workspace), args.workspace_bytes = bytes;
  args.dweight = at(dweight), args.dweight_dtype = c.dweight_dtype, args.dweight_mode = dweight_mode;
  args.dbias = at(dbias), args.dbias_dtype = c.dbias_dtype, args.dbias_mode = dbias_mode;
  if (form.cuda_device < 0 && (form.group_cut > 0 || form.column_cut > 0)) {
    RangedCall call(nc_norm_backward_begin, plan, args);
    call.runPhase(0, form.group_cut);
    call.runPhase(1, form.column_cut);
  } else {
    check(nc_norm_backward(plan, &args));
  }
  at.bringBack();
  if (c.dx && form.dx != Form::kDy) result.dx = dx.contents();
  if (c.dx && form.dx == Form::kDy) {
    Tensor seen(c.spec.x_dtype, c.rows, n, n, 0);
    for (int64_t r = 0; r < c.rows; ++r) {
      for (int64_t i = 0; i < n; ++i) seen.setBits(r, i, dy.bits(r, i));
    }
    result.dx = seen.contents();
  }
  if (wants_dweight) result.dweight = dweight.contents();
  if (wants_dbias) result.dbias = dbias.contents();
  for (const Tensor* t : {&x, &dy, &dresidual, &dx, &dweight, &dbias, &workspace}) {
    EXPECT_TRUE(!t->present() || t->surroundingsIntact()) << "backward wrote outside its tensors";
  }
  if (form.dx != Form::kX) expectUntouched(x, x_before, "x");
  if (form.dx != Form::kDy) expectUntouched(dy, dy_before, "dy");
  if (form.dx != Form::kResidual) expectUntouched(dresidual, dresidual_before, "dresidual");
  expectUntouched(weight, weight_before, "weight");
  expectUntouched(mean, mean_before, "mean");
  expectUntouched(rstd, rstd_before, "rstd");
}

inline Result run(const Case& c, const Data& d, const Form& form = {}) {
  nc_norm_spec spec = c.spec;
  if (form.cuda_device >= 0) {
    spec.device_type = NC_DEVICE_CUDA;
    spec.device_index = form.cuda_device;
  } else {
    spec.cpu_level = form.level;
  }
  const Plan plan(spec);
  Result result;
  runForward(c, d, form, plan, result);
  if (form.saves) runBackward(c, d, form, plan, result);
  return result;
}

inline reference::Order orderOf(int64_t rows, int64_t n) {
  return {nc::lanes(n), nc::segments(n), nc::groups(rows, n), nc::row_slots(n)};
}

// Quantises a forward's values, of the compute type, to FP8 row by row, from the definitions.
inline void quantize(const Case& c, const Data& d, const std::vector<double>& values, Result& result) {
  const nc_norm_spec& s = c.spec;
  const int64_t n = s.hidden_size;
  const reference::Format& target = reference::format(s.y_dtype);
  const reference::Format& single = reference::format(NC_FLOAT32);
  const auto largest = [&](int64_t begin, int64_t end) {
    double amax = 0;
    for (int64_t i = begin; i < end; ++i) {
      const double magnitude = std::fabs(values[static_cast<size_t>(i)]);
      if (!std::isnan(magnitude)) amax = std::max(amax, magnitude);
    }
    return reference::round(single, amax);
  };
  const auto codes = [&](int64_t begin, int64_t end, double scale) {
    for (int64_t i = begin; i < end; ++i) {
      double scaled = values[static_cast<size_t>(i)] * scale;
      if (s.compute == NC_COMPUTE_FLOAT32) scaled = reference::round(single, scaled);
      result.y.push_back(reference::encode(target, scaled));
    }
  };
  if (s.y_scaling == NC_SCALING_TENSOR) {
    codes(0, c.rows * n, d.y_scale);
    result.y_amax = {reference::encode(single, largest(0, c.rows * n))};
    return;
  }
  for (int64_t row = 0; row < c.rows; ++row) {
    if (s.y_scaling == NC_SCALING_ROW) {
      const double amax = largest(row * n, row * n + n);
      double scale = 1;
      if (amax > 0 && std::isfinite(amax)) {
        scale = std::min(reference::round(single, target.max / amax), static_cast<double>(0x1.fffffep127f));
        if (s.y_power_of_two) scale = std::exp2(std::floor(std::log2(scale)));
      }
      codes(row * n, row * n + n, scale);
      result.y_scale_inv.push_back(reference::encode(single, 1 / scale));
      continue;
    }
    for (int64_t begin = row * n; begin < row * n + n; begin += NC_SCALE_BLOCK) {
      const int64_t end = std::min(begin + NC_SCALE_BLOCK, row * n + n);
      const double amax = largest(begin, end);
      int code = 0;
      while (code < 254 && amax > std::ldexp(target.max, code - 127)) ++code;
      codes(begin, end, std::ldexp(1.0, 127 - code));
      result.y_scale_inv.push_back(static_cast<uint64_t>(code));
    }
  }
}

// The expected result of run(), bit for bit.
inline Result predict(const Case& c, const Data& d) {
  const auto values = [](int32_t dtype, const Bits& bits) {
    std::vector<double> all;
    all.reserve(bits.size());
    for (const uint64_t b : bits) all.push_back(reference::decode(reference::format(dtype), b));
    return all;
  };
  const auto patterns = [](int32_t dtype, const std::vector<double>& all) {
    Bits bits;
    bits.reserve(all.size());
    for (const double v : all) bits.push_back(reference::encode(reference::format(dtype), v));
    return bits;
  };
  const nc_norm_spec& s = c.spec;
  reference::Inputs in{c.rows,
                       s.hidden_size,
                       values(s.x_dtype, d.x),
                       values(s.x_dtype, d.residual),
                       values(s.weight_dtype, d.weight),
                       values(s.weight_dtype, d.bias),
                       values(c.dyFormat(), d.dy),
                       values(s.x_dtype, d.dresidual)};
  const auto gradient = [&](int32_t mode, int32_t dtype, const std::vector<double>& sums, const Bits& before) {
    if (mode == NC_GRADIENT_ABSENT) return Bits();
    if (mode == NC_GRADIENT_WRITE) return patterns(dtype, sums);
    std::vector<double> added = values(dtype, before);
    for (size_t i = 0; i < added.size(); ++i) {
      added[i] = s.compute == NC_COMPUTE_FLOAT64 ? added[i] + sums[i]
                                                 : static_cast<float>(added[i]) + static_cast<float>(sums[i]);
    }
    return patterns(dtype, added);
  };
  const auto evaluate = [&](const auto& model) {
    reference::Outputs out = model.forward(in);
    if (c.residual) in.x = out.residual_out;
    model.backward(in, out);
    Result result;
    if (c.isQuantized()) {
      quantize(c, d, out.y, result);
    } else {
      result.y = patterns(s.y_dtype, out.y);
    }
    result.residual_out = patterns(s.x_dtype, out.residual_out);
    if (c.isLayerNorm()) result.mean = patterns(c.computeFormat(), out.mean);
    result.rstd = patterns(c.computeFormat(), out.rstd);
    if (c.dx) result.dx = patterns(s.x_dtype, out.dx);
    result.dweight = gradient(c.dweightMode(), c.dweight_dtype, out.dweight, d.dweight);
    result.dbias = gradient(c.dbiasMode(), c.dbias_dtype, out.dbias, d.dbias);
    return result;
  };
  const reference::Order order = orderOf(c.rows, s.hidden_size);
  nc_norm_spec values_spec = s;
  if (c.isQuantized()) values_spec.y_dtype = c.computeFormat();
  if (s.compute == NC_COMPUTE_FLOAT64) return evaluate(reference::Model<double>(values_spec, order));
  return evaluate(reference::Model<float>(values_spec, order));
}

// The first difference, or "".
inline std::string difference(const char* name, int32_t dtype, const Bits& expected, const Bits& actual) {
  if (expected == actual) return "";
  if (expected.size() != actual.size()) {
    return std::string(name) + " has " + std::to_string(actual.size()) + " elements, expected " +
           std::to_string(expected.size());
  }
  size_t first = expected.size(), count = 0;
  for (size_t i = expected.size(); i-- > 0;) {
    if (expected[i] != actual[i]) first = i, ++count;
  }
  char text[200];
  std::snprintf(text, sizeof text, "%s: %zu of %zu differ, first [%zu]: expected %llx (%.17g), got %llx (%.17g)", name,
                count, expected.size(), first, static_cast<unsigned long long>(expected[first]),
                reference::decode(reference::format(dtype), expected[first]),
                static_cast<unsigned long long>(actual[first]),
                reference::decode(reference::format(dtype), actual[first]));
  return text;
}

inline ::testing::AssertionResult same(const Case& c, const Result& expected, const Result& actual) {
  std::string all;
  const auto compare = [&](const char* name, int32_t dtype, const Bits& e, const Bits& a) {
    const std::string text = difference(name, dtype, e, a);
    if (!text.empty()) all += "\n  " + text;
  };
  compare("y", c.spec.y_dtype, expected.y, actual.y);
  compare("y_amax", NC_FLOAT32, expected.y_amax, actual.y_amax);
  compare("y_scale_inv", c.spec.y_scaling == NC_SCALING_ROW ? NC_FLOAT32 : NC_FLOAT8_E4M3, expected.y_scale_inv,
          actual.y_scale_inv);
  compare("residual_out", c.spec.x_dtype, expected.residual_out, actual.residual_out);
  compare("mean", c.computeFormat(), expected.mean, actual.mean);
  compare("rstd", c.computeFormat(), expected.rstd, actual.rstd);
  compare("dx", c.spec.x_dtype, expected.dx, actual.dx);
  compare("dweight", c.dweight_dtype, expected.dweight, actual.dweight);
  compare("dbias", c.dbias_dtype, expected.dbias, actual.dbias);
  if (all.empty()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << c.describe() << all;
}

inline std::vector<int32_t> supportedLevels() {
  std::vector<int32_t> levels;
  for (const int32_t level : {NC_CPU_PLAIN, NC_CPU_AVX2, NC_CPU_AVX512, NC_CPU_NEON}) {
    int32_t supported = 0;
    check(nc_cpu_level_supported(level, &supported));
    if (supported != 0) levels.push_back(level);
  }
  return levels;
}

inline std::string levelName(int32_t level) {
  static const char* const names[] = {"best", "plain", "avx2", "avx512", "neon"};
  return names[level];
}

}  // namespace harness
