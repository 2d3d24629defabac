// Runs the FP8 calls in any form that must not change a bit, and predicts them with the tests' own number formats.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "support/harness.h"

namespace fp8 {

using harness::Bits;
using harness::check;
using harness::Form;
using harness::Tensor;
using reference::Format;

inline constexpr int32_t kWide[] = {NC_FLOAT32, NC_BFLOAT16, NC_FLOAT16};
inline constexpr int32_t kNarrow[] = {NC_FLOAT8_E4M3, NC_FLOAT8_E5M2};

inline const Format& f32() { return reference::format(NC_FLOAT32); }
inline uint64_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline float floatOf(uint64_t bits) {
  const auto low = static_cast<uint32_t>(bits);
  float value;
  std::memcpy(&value, &low, sizeof value);
  return value;
}

// rows x columns patterns of a format.
struct Matrix {
  int32_t dtype;
  int64_t rows, columns;
  Bits bits;

  int64_t blocks() const { return (columns + NC_SCALE_BLOCK - 1) / NC_SCALE_BLOCK; }
  float value(size_t i) const { return static_cast<float>(reference::decode(reference::format(dtype), bits[i])); }
};
inline Matrix oneRow(int32_t dtype, Bits bits) {
  const auto columns = static_cast<int64_t>(bits.size());
  return {dtype, 1, columns, std::move(bits)};
}

// Numbers of all magnitudes that FP8 distinguishes, and some that it does not; occasionally a special one.
inline Matrix draw(int32_t dtype, int64_t rows, int64_t columns, uint64_t seed) {
  static const double special[] = {HUGE_VAL, -HUGE_VAL, std::nan(""), 0.0,     -0.0,
                                   0x1p-149, -0x1p-130, 0x1p-24,      65504.0, 0x1p127};
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> exponent(-20, 18);
  std::normal_distribution<double> normal;
  Matrix m{dtype, rows, columns, {}};
  m.bits.reserve(static_cast<size_t>(rows * columns));
  for (int64_t i = 0; i < rows * columns; ++i) {
    const bool is_special = random() % 257 == 0;
    const double v = is_special ? special[random() % 10] : normal(random) * std::exp2(exponent(random));
    m.bits.push_back(reference::encode(reference::format(dtype), v));
  }
  return m;
}

// The expected results. Products are float32's, as the header says; everything else is exact.

inline float largestMagnitude(const Matrix& m, size_t begin, size_t end) {
  float amax = 0;
  for (size_t i = begin; i < end; ++i) {
    const float v = std::fabs(m.value(i));
    if (!std::isnan(v)) amax = std::max(amax, v);
  }
  return amax;
}
inline float largestMagnitude(const Matrix& m) { return largestMagnitude(m, 0, m.bits.size()); }

inline uint64_t quantized(const Format& format, float v, float scale) { return reference::encode(format, v * scale); }

inline Bits quantizedByOne(const Matrix& m, int32_t format, float scale) {
  Bits q;
  q.reserve(m.bits.size());
  for (size_t i = 0; i < m.bits.size(); ++i) q.push_back(quantized(reference::format(format), m.value(i), scale));
  return q;
}

// The smallest power of two by which amax can be divided without exceeding the format's largest value, as an E8M0 code:
// found by trying all of them.
inline int blockCode(int32_t format, float amax) {
  if (std::isinf(amax)) return 254;
  int code = 0;
  while (std::ldexp(static_cast<double>(amax), 127 - code) > reference::format(format).max) ++code;
  return code;
}
inline double blockScaleInv(int code) { return std::ldexp(1.0, code - 127); }

struct Blocks {
  Bits q, codes;
};
inline Blocks quantizedByBlocks(const Matrix& m, int32_t format) {
  Blocks result;
  result.q.reserve(m.bits.size());
  for (int64_t row = 0; row < m.rows; ++row) {
    for (int64_t first = 0; first < m.columns; first += NC_SCALE_BLOCK) {
      const auto begin = static_cast<size_t>(row * m.columns + first);
      const auto end = begin + static_cast<size_t>(std::min<int64_t>(NC_SCALE_BLOCK, m.columns - first));
      const int code = blockCode(format, largestMagnitude(m, begin, end));
      result.codes.push_back(static_cast<uint64_t>(code));
      const auto scale = static_cast<float>(std::ldexp(1.0, 127 - code));
      for (size_t i = begin; i < end; ++i) {
        result.q.push_back(quantized(reference::format(format), m.value(i), scale));
      }
    }
  }
  return result;
}

// scale_inv: float32 patterns of the scale or of the row scales, or the block codes.
inline Bits dequantized(const Matrix& q, int32_t scaling, const Bits& scale_inv, int32_t y_dtype) {
  Bits y;
  y.reserve(q.bits.size());
  for (int64_t row = 0; row < q.rows; ++row) {
    for (int64_t column = 0; column < q.columns; ++column) {
      const int64_t which = scaling == NC_SCALING_TENSOR ? 0
                            : scaling == NC_SCALING_ROW  ? row
                                                         : row * q.blocks() + column / NC_SCALE_BLOCK;
      const uint64_t bits = scale_inv[static_cast<size_t>(which)];
      const float scale = scaling != NC_SCALING_BLOCK ? floatOf(bits)
                          : bits == 255               ? std::nanf("")
                                                      : static_cast<float>(blockScaleInv(static_cast<int>(bits)));
      const float product = q.value(static_cast<size_t>(row * q.columns + column)) * scale;
      y.push_back(reference::encode(reference::format(y_dtype), product));
    }
  }
  return y;
}

// largest / amax / 2^margin: a quotient of 7 times a power of two by 24 bits is no tie of float32 and further from
// every tie than float64's error, so that double rounding equals one rounding.
inline float scaleOf(int32_t format, float amax, int margin, bool power_of_two) {
  if (!(amax > 0) || std::isinf(amax)) return 1;
  const double quotient = std::ldexp(reference::format(format).max / static_cast<double>(amax), -margin);
  double scale = reference::round(f32(), quotient);
  scale = std::min(std::max(scale, 0x1p-126), 0x1.FFFFFEp127);
  if (power_of_two) {
    int exponent;
    std::frexp(scale, &exponent);
    scale = std::ldexp(1.0, exponent - 1);
  }
  return static_cast<float>(scale);
}

// The calls.

inline Tensor tensorOf(const Matrix& m, const Form& form) {
  Tensor t(m.dtype, m.rows, m.columns, m.columns + form.extra_stride, form.offset);
  t.fill(m.bits);
  return t;
}
inline Tensor emptyTensor(int32_t dtype, const Matrix& like, const Form& form) {
  return Tensor(dtype, like.rows, like.columns, like.columns + form.extra_stride, form.offset);
}
// float32 numbers, aligned to 4 but not to 8 bytes.
inline Tensor floats(const Bits& bits) {
  const auto n = static_cast<int64_t>(bits.size());
  Tensor t(NC_FLOAT32, 1, n, n, 4);
  t.fill(bits);
  return t;
}
inline Tensor floats(float value) { return floats(Bits{bitsOf(value)}); }
// E8M0 codes as bytes: the tests' formats have no E8M0, and no test reads them as numbers.
inline Tensor codesOf(const Matrix& m, const Form& form) {
  return Tensor(NC_FLOAT8_E4M3, 1, m.rows * m.blocks(), m.rows * m.blocks(), form.offset);
}

class Fp8Plan {
 public:
  explicit Fp8Plan(const nc_fp8_spec& spec) { check(nc_fp8_plan_create(&spec, &handle_)); }
  Fp8Plan(const Fp8Plan&) = delete;
  Fp8Plan& operator=(const Fp8Plan&) = delete;
  ~Fp8Plan() { nc_fp8_plan_destroy(handle_); }
  operator int64_t() const { return handle_; }

 private:
  int64_t handle_ = 0;
};

// A spec for the CPU, or for a CUDA device from 0 on.
inline nc_fp8_spec makeFp8(int32_t x_dtype, int32_t format, int32_t scaling, int32_t y_dtype = NC_FLOAT32,
                           int32_t cuda_device = -1) {
  nc_fp8_spec spec{};
  spec.struct_size = sizeof(spec);
  spec.x_dtype = x_dtype;
  spec.y_dtype = y_dtype;
  spec.format = format;
  spec.scaling = scaling;
  if (cuda_device >= 0) spec.device_type = NC_DEVICE_CUDA, spec.device_index = cuda_device;
  return spec;
}
inline nc_fp8_spec specOf(int32_t x_dtype, int32_t format, int32_t scaling, const Form& form,
                          int32_t y_dtype = NC_FLOAT32) {
  nc_fp8_spec spec = makeFp8(x_dtype, format, scaling, y_dtype, form.cuda_device);
  if (form.cuda_device < 0) spec.cpu_level = form.level;
  return spec;
}

inline nc_fp8_args argsOf(int64_t rows, int64_t columns) {
  auto args = harness::argsOf<nc_fp8_args>();
  args.rows = rows;
  args.columns = columns;
  return args;
}
inline nc_fp8_args argsOf(const Matrix& m) { return argsOf(m.rows, m.columns); }

// The operands of nc_fp8_scale; an output may be absent.
inline nc_fp8_args scaleArgs(int64_t count, int64_t amax, int64_t scale, int64_t scale_inv) {
  nc_fp8_args args = argsOf(0, 0);
  args.count = count;
  args.amax = amax;
  args.scale = scale;
  args.scale_inv = scale_inv;
  return args;
}
inline nc_fp8_spec scaleSpec(int32_t format, int32_t margin, bool power_of_two, int32_t cuda_device = -1) {
  nc_fp8_spec spec = makeFp8(0, format, NC_SCALING_TENSOR, 0, cuda_device);
  spec.margin = margin;
  spec.power_of_two = power_of_two ? 1 : 0;
  return spec;
}

// Runs a call whole, or on the CPU in ranges of rows.
template <class Whole, class Begin>
void runRows(Whole whole, Begin begin, const nc_fp8_spec& spec, const nc_fp8_args& args, const Form& form) {
  const Fp8Plan plan(spec);
  if (form.cuda_device < 0 && form.row_cut > 0) {
    const harness::RangedCall call(begin, plan, args);
    call.runPhase(0, form.row_cut);
  } else {
    check(whole(plan, &args));
  }
}

inline void expectIntact(const Tensor& t, const char* name) {
  EXPECT_TRUE(t.surroundingsIntact()) << "something beside " << name << " was written";
}

// The maximum of its previous value and the matrix's.
inline float runAmax(const Matrix& m, const Form& form, float before = 0) {
  Tensor x = tensorOf(m, form), amax = floats(before);
  const std::vector<uint8_t> x_before = x.memory();
  harness::Residence at(form.cuda_device);
  nc_fp8_args args = argsOf(m);
  args.x = at(x), args.x_stride = x.stride();
  args.amax = at(amax);
  runRows(nc_fp8_amax, nc_fp8_amax_begin, specOf(m.dtype, NC_FLOAT8_E4M3, NC_SCALING_TENSOR, form), args, form);
  at.bringBack();
  harness::expectUntouched(x, x_before, "x");
  expectIntact(amax, "amax");
  return floatOf(amax.bits(0, 0));
}

struct ByOne {
  Bits q;
  float amax;
};
inline ByOne runQuantize(const Matrix& m, int32_t format, float scale, bool measures, const Form& form) {
  Tensor x = tensorOf(m, form), q = emptyTensor(format, m, form), factor = floats(scale);
  Tensor amax = measures ? floats(0.0f) : Tensor();
  const std::vector<uint8_t> x_before = x.memory(), factor_before = factor.memory();
  harness::Residence at(form.cuda_device);
  nc_fp8_args args = argsOf(m);
  args.x = at(x), args.x_stride = x.stride();
  args.q = at(q), args.q_stride = q.stride();
  args.scale = at(factor);
  args.amax = at(amax);
  runRows(nc_fp8_quantize, nc_fp8_quantize_begin, specOf(m.dtype, format, NC_SCALING_TENSOR, form), args, form);
  at.bringBack();
  harness::expectUntouched(x, x_before, "x");
  harness::expectUntouched(factor, factor_before, "scale");
  expectIntact(q, "q");
  if (measures) expectIntact(amax, "amax");
  return {q.contents(), measures ? floatOf(amax.bits(0, 0)) : 0};
}

inline Blocks runQuantizeBlocks(const Matrix& m, int32_t format, const Form& form) {
  Tensor x = tensorOf(m, form), q = emptyTensor(format, m, form), codes = codesOf(m, form);
  const std::vector<uint8_t> x_before = x.memory();
  harness::Residence at(form.cuda_device);
  nc_fp8_args args = argsOf(m);
  args.x = at(x), args.x_stride = x.stride();
  args.q = at(q), args.q_stride = q.stride();
  args.scale_inv = at(codes);
  runRows(nc_fp8_quantize, nc_fp8_quantize_begin, specOf(m.dtype, format, NC_SCALING_BLOCK, form), args, form);
  at.bringBack();
  harness::expectUntouched(x, x_before, "x");
  expectIntact(q, "q");
  expectIntact(codes, "scale_inv");
  return {q.contents(), codes.contents()};
}

inline Bits runDequantize(const Matrix& m, int32_t scaling, const Bits& scale_inv, int32_t y_dtype, const Form& form) {
  Tensor q = tensorOf(m, form), y = emptyTensor(y_dtype, m, form), scales;
  if (scaling == NC_SCALING_BLOCK) {
    scales = codesOf(m, form);
    scales.fill(scale_inv);
  } else {
    scales = floats(scale_inv);
  }
  const std::vector<uint8_t> q_before = q.memory(), scales_before = scales.memory();
  harness::Residence at(form.cuda_device);
  nc_fp8_args args = argsOf(m);
  args.q = at(q), args.q_stride = q.stride();
  args.scale_inv = at(scales);
  args.y = at(y), args.y_stride = y.stride();
  runRows(nc_fp8_dequantize, nc_fp8_dequantize_begin, specOf(0, m.dtype, scaling, form, y_dtype), args, form);
  at.bringBack();
  harness::expectUntouched(q, q_before, "q");
  harness::expectUntouched(scales, scales_before, "scale_inv");
  expectIntact(y, "y");
  return y.contents();
}

// The expected and the actual result of a call; the first argument names the call.
inline ::testing::AssertionResult same(const std::string& what, int32_t dtype, const Bits& expected,
                                       const Bits& actual) {
  const std::string text = harness::difference(what.c_str(), dtype, expected, actual);
  if (text.empty()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << text;
}

inline std::string name(int32_t dtype) { return reference::format(dtype).name; }
inline std::string describe(const Matrix& m, int32_t to, const Form& form) {
  return name(m.dtype) + " " + std::to_string(m.rows) + " x " + std::to_string(m.columns) + " to " + name(to) +
         (form.cuda_device >= 0 ? ", device " + std::to_string(form.cuda_device)
                                : ", " + harness::levelName(form.level)) +
         ", stride +" + std::to_string(form.extra_stride) + ", offset " + std::to_string(form.offset) + ", cut " +
         std::to_string(form.row_cut);
}

// All operations on a matrix, predicted once and compared in any form.
class Predicted {
 public:
  Predicted(const Matrix& m, int32_t format, uint64_t seed) : m_(m), format_(format) {
    // A scale that moves the largest finite numbers beyond the format's range and many into its subnormals.
    scale_ = format == NC_FLOAT8_E4M3 ? 0.0173f : 1.37f;
    amax_ = largestMagnitude(m);
    q_ = quantizedByOne(m, format, scale_);
    blocks_ = quantizedByBlocks(m, format);
    std::mt19937_64 random(seed);
    std::uniform_real_distribution<float> exponent(-30, 30);
    for (int64_t row = 0; row < std::max<int64_t>(m.rows, 1); ++row) {
      row_scales_.push_back(bitsOf(std::exp2(exponent(random))));
    }
    for (const int32_t y : kWide) {
      by_one_.push_back(dequantized(narrow(q_), NC_SCALING_TENSOR, row_scales_, y));
      by_row_.push_back(dequantized(narrow(q_), NC_SCALING_ROW, row_scales_, y));
      by_block_.push_back(dequantized(narrow(blocks_.q), NC_SCALING_BLOCK, blocks_.codes, y));
    }
  }

  void expectIn(const Form& form) const {
    SCOPED_TRACE(describe(m_, format_, form));
    EXPECT_EQ(bitsOf(amax_), bitsOf(runAmax(m_, form)));
    const ByOne measured = runQuantize(m_, format_, scale_, true, form);
    EXPECT_TRUE(same("q by one scale, measured", format_, q_, measured.q));
    EXPECT_EQ(bitsOf(amax_), bitsOf(measured.amax));
    EXPECT_TRUE(same("q by one scale", format_, q_, runQuantize(m_, format_, scale_, false, form).q));
    const Blocks blocks = runQuantizeBlocks(m_, format_, form);
    EXPECT_TRUE(same("q by blocks", format_, blocks_.q, blocks.q));
    EXPECT_EQ(blocks_.codes, blocks.codes) << "scales of blocks";
    const Bits one = {row_scales_[0]};
    const Bits of_rows(row_scales_.begin(), row_scales_.begin() + static_cast<std::ptrdiff_t>(m_.rows));
    for (size_t i = 0; i < by_one_.size(); ++i) {
      const int32_t y = kWide[i];
      EXPECT_TRUE(same("y by one scale", y, by_one_[i], runDequantize(narrow(q_), NC_SCALING_TENSOR, one, y, form)));
      EXPECT_TRUE(same("y by rows", y, by_row_[i], runDequantize(narrow(q_), NC_SCALING_ROW, of_rows, y, form)));
      EXPECT_TRUE(same("y by blocks", y, by_block_[i],
                       runDequantize(narrow(blocks_.q), NC_SCALING_BLOCK, blocks_.codes, y, form)));
    }
  }

 private:
  Matrix narrow(const Bits& q) const { return {format_, m_.rows, m_.columns, q}; }

  Matrix m_;
  int32_t format_;
  float scale_, amax_;
  Bits q_, row_scales_;
  Blocks blocks_;
  std::vector<Bits> by_one_, by_row_, by_block_;
};

// Float32 patterns: every tie of an FP8 format with its neighbours, its numbers with theirs, numbers beyond its range,
// NaNs of either sign with various payloads, infinities and float32's subnormals.
inline Bits edges(int32_t format) {
  const Format& f = reference::format(format);
  std::vector<double> magnitudes;
  for (uint64_t bits = 0; bits < reference::signBit(f); ++bits) {
    const double v = reference::decode(f, bits);
    if (std::isfinite(v)) magnitudes.push_back(v);
  }
  magnitudes.push_back(2 * magnitudes.back() - magnitudes[magnitudes.size() - 2]);
  Bits all;
  const auto add = [&](uint64_t magnitude) {
    for (const uint64_t sign : {0u, 0x80000000u}) all.push_back(sign | magnitude);
  };
  const auto addWithNeighbours = [&](double v) {
    const uint64_t bits = bitsOf(static_cast<float>(v));
    for (uint64_t step = bits < 3 ? bits : 3; step > 0; --step) add(bits - step);
    for (uint64_t step = 0; step <= 3; ++step) add(bits + step);
  };
  for (size_t i = 0; i + 1 < magnitudes.size(); ++i) {
    addWithNeighbours(magnitudes[i]);
    addWithNeighbours((magnitudes[i] + magnitudes[i + 1]) / 2);
  }
  addWithNeighbours(magnitudes.back());
  for (uint64_t bit = 1; bit < 0x7f800000u; bit *= 2) {
    for (const uint64_t magnitude : {bit - 1, bit, bit + 1}) add(magnitude);
  }
  for (uint64_t exponent = 0; exponent < 255; ++exponent) {
    for (const uint64_t mantissa : {0u, 1u, 0x3fffffu, 0x400000u, 0x600000u, 0x7fffffu}) add(exponent << 23 | mantissa);
  }
  for (const uint64_t payload : {0u, 1u, 2u, 0x200000u, 0x3fffffu, 0x400000u, 0x400001u, 0x600000u, 0x7fffffu}) {
    add(0x7f800000u | payload);
  }
  return all;
}

// Blocks whose largest magnitudes have every exponent and mantissas on both sides of 1.75, the largest number of FP8.
inline Matrix blocksOfEveryExponent(int32_t dtype) {
  const Format& f = reference::format(dtype);
  const uint64_t top = (reference::signBit(f) - 1) >> f.fraction_bits, one = uint64_t{1} << f.fraction_bits;
  Matrix m{dtype, 0, NC_SCALE_BLOCK, {}};
  for (uint64_t exponent = 0; exponent < top; ++exponent) {
    for (const uint64_t mantissa : {uint64_t{0}, uint64_t{1}, one * 3 / 4 - 1, one * 3 / 4, one * 3 / 4 + 1, one - 1}) {
      const uint64_t largest = exponent << f.fraction_bits | mantissa;
      for (uint64_t i = 0; i < NC_SCALE_BLOCK; ++i) {
        // One largest element, of either sign; the others are smaller by up to 30 binades, or NaN.
        const uint64_t less = (i << f.fraction_bits) + i * 37;
        uint64_t bits = i == m.bits.size() / NC_SCALE_BLOCK % NC_SCALE_BLOCK ? largest
                        : less < largest                                     ? largest - less
                                                                             : 0;
        if (i % 3 == 1) bits |= reference::signBit(f);
        if (i == 20 && mantissa == 1 && bits != largest) bits = f.nan;
        m.bits.push_back(bits);
      }
      ++m.rows;
    }
  }
  for (const uint64_t alone : {f.nan, top << f.fraction_bits, uint64_t{0}, reference::signBit(f)}) {
    for (int i = 0; i < NC_SCALE_BLOCK; ++i) m.bits.push_back(alone == f.nan || i == 7 ? alone : 1);
    ++m.rows;
  }
  return m;
}

}  // namespace fp8
