// Golden hashes: about 500 cases, each with the SHA-256 of all its outputs in tests/golden/hashes.txt. They hold every
// vector level, the simulator and the GPUs to one numerics version, in every release.
//
// A hash covers each output of its case in a fixed order: the line "NAME DTYPE COUNT\n" and the elements, little
// endian. Inputs come from a generator that is specified here to the last bit and seeded by the case's name, so that
// neither a library nor another case can change them. NaN payloads are not specified, so a case with a NaN is refused.
//
// A hash in the file may change only with a raised kNumericsVersion. New cases go to the end of their part; their lines
// go to the end of the file. To do both:
//
//   ninja -C target/native-build golden_test
//   target/native-build/tests/golden_test --write tests/golden/hashes.txt
#pragma once

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <sstream>
#include <utility>

#include "support/fp8.h"
#include "support/harness.h"
#include "support/rotary_harness.h"
#include "support/sha256.h"

extern "C" {
extern const char nc_golden_file_begin[] __attribute__((visibility("hidden")));
extern const char nc_golden_file_end[] __attribute__((visibility("hidden")));
}

namespace golden {

using harness::Bits;
using harness::check;

// The version of the order of sums, of the roundings and of everything else that decides a bit.
inline constexpr int kNumericsVersion = 0;

inline constexpr char kAdvice[] =
    "A bit has changed. If that is intended, raise kNumericsVersion in tests/native/support/golden.h and run\n"
    "  target/native-build/tests/golden_test --write tests/golden/hashes.txt\n"
    "Otherwise it is a bug.";

inline std::string dtypeName(int32_t dtype) {
  static const char* const names[] = {"float64",     "float32",     "bfloat16",   "float16",
                                      "float8_e4m3", "float8_e5m2", "float8_e8m0"};
  return names[dtype];
}

// Inputs.

// The distribution of numbers: exponents low .. high, uniformly, and this many random bits at the end of the fraction.
// Exponents below a format's range give zeros and subnormals; those above it give the largest number.
struct Values {
  int low, high;
  bool signs = true;
  int fraction_bits = 52;
};
inline constexpr Values kOrdinary = {-3, 1};
inline constexpr Values kSmall = {-6, -2};
inline constexpr Values kNearOne = {-1, 0, false};

inline uint64_t fnv1a(const std::string& text) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
  return hash;
}

// SplitMix64, seeded by the 64-bit FNV-1a hash of a name. A number is the bit pattern of its format: sign, exponent and
// fraction are taken from one output, so nothing is rounded.
class Generator {
 public:
  explicit Generator(const std::string& name) : state_(fnv1a(name)) {}

  uint64_t next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
  }

  Bits draw(int32_t dtype, int64_t count, const Values& values) {
    const reference::Format& f = reference::format(dtype);
    const uint64_t fraction_mask = (uint64_t{1} << std::min(f.fraction_bits, values.fraction_bits)) - 1;
    const auto largest = static_cast<int>((reference::signBit(f) - 1) >> f.fraction_bits) - 1;
    const auto exponents = static_cast<uint64_t>(values.high - values.low + 1);
    Bits bits(static_cast<size_t>(count));
    for (uint64_t& b : bits) {
      const uint64_t r = next();
      const int exponent = values.low + static_cast<int>((r >> 52 & 0x7FF) % exponents) + f.bias;
      b = static_cast<uint64_t>(std::min(std::max(exponent, 0), largest)) << f.fraction_bits | (r & fraction_mask);
      if (values.signs && r >> 63 != 0) b |= reference::signBit(f);
    }
    return bits;
  }

 private:
  uint64_t state_;
};

// Outputs.

class Hash {
 public:
  // An absent output has no elements and is not part of the hash.
  void add(const char* name, int32_t dtype, const Bits& elements) {
    if (elements.empty()) return;
    const int bytes = dtype == NC_FLOAT8_E8M0 ? 1 : reference::format(dtype).bytes;
    std::vector<uint8_t> memory(elements.size() * static_cast<size_t>(bytes));
    uint8_t* at = memory.data();
    for (const uint64_t element : elements) {
      if (isNan(dtype, element)) throw std::runtime_error(std::string(name) + " has a NaN");
      for (int byte = 0; byte < bytes; ++byte) *at++ = static_cast<uint8_t>(element >> (8 * byte));
    }
    sha_.add(std::string(name) + " " + dtypeName(dtype) + " " + std::to_string(elements.size()) + "\n");
    sha_.add(memory.data(), memory.size());
  }
  std::string finish() { return sha_.finish(); }

 private:
  static bool isNan(int32_t dtype, uint64_t bits) {
    if (dtype == NC_FLOAT8_E8M0) return bits == 255;
    const reference::Format& f = reference::format(dtype);
    const uint64_t magnitude = bits & (reference::signBit(f) - 1), all = reference::signBit(f) - 1;
    return f.has_infinity ? magnitude > all >> f.fraction_bits << f.fraction_bits : magnitude == all;
  }

  Sha256 sha_;
};

// Where a case runs: on the CPU, whole or in ranges, or on a CUDA device.
struct Where {
  int32_t level = NC_CPU_BEST;
  bool in_ranges = false;
  int32_t cuda_device = -1;

  harness::Form form() const {
    harness::Form form;
    form.level = level;
    form.cuda_device = cuda_device;
    if (in_ranges) form.row_cut = 2, form.group_cut = 1, form.column_cut = 104;
    return form;
  }
  harness::RotaryForm rotaryForm() const {
    harness::RotaryForm form;
    form.level = level;
    form.cuda_device = cuda_device;
    if (in_ranges) form.cut = 2;
    return form;
  }
};

struct Case {
  const char* part;  // the test of this case
  std::string name;
  std::function<std::string(const Where&)> hash;
};

// Norms.

struct NormValues {
  const char* name = "ordinary";
  Values x = kOrdinary;
};

inline std::string nameOf(const harness::Case& c, const NormValues& values) {
  static const char* const affines[] = {"none", "weight", "bias", "weight_and_bias"};
  static const char* const roundings[] = {"compute", "input", "weight"};
  static const char* const offsets[] = {"none", "one_in_compute", "one_in_weight"};
  static const char* const variances[] = {"two_pass", "welford", "sum_of_squares"};
  static const char* const scalings[] = {"none", "tensor", "row", "block"};
  static const char* const modes[] = {"absent", "write", "accumulate"};
  const nc_norm_spec& s = c.spec;
  std::ostringstream name;
  name << (c.isLayerNorm() ? "layer_norm " : "rms_norm ") << dtypeName(s.x_dtype) << " " << dtypeName(s.weight_dtype)
       << " " << dtypeName(s.y_dtype) << " rounding=" << roundings[s.scale_rounding]
       << " gamma=" << offsets[s.gamma_offset] << " compute=" << dtypeName(c.computeFormat());
  if (c.isLayerNorm()) name << " variance=" << variances[s.variance];
  name << " affine=" << affines[s.affine];
  if (c.isQuantized()) {
    name << " scaling=" << scalings[s.y_scaling] << (s.y_power_of_two != 0 ? ":power_of_two" : "")
         << " dy=" << dtypeName(s.dy_dtype);
  }
  if (c.residual) name << " residual=" << (s.residual_rounding == NC_RESIDUAL_INPUT ? "input" : "compute");
  if (c.dresidual) name << " dresidual";
  if (!c.dx) name << " dx=absent";
  const auto gradient = [&](const char* which, int32_t mode, int32_t dtype) {
    name << " " << which << "=" << modes[mode];
    if (mode != NC_GRADIENT_ABSENT) name << ":" << dtypeName(dtype);
  };
  if (c.hasWeight()) gradient("dweight", c.dweight_mode, c.dweight_dtype);
  if (c.hasBias()) gradient("dbias", c.dbias_mode, c.dbias_dtype);
  name << " epsilon=" << (s.epsilon == 0 ? "0" : "1e-5") << " x=" << values.name << " rows=" << c.rows
       << " n=" << s.hidden_size;
  return name.str();
}

inline std::string hashOf(const harness::Case& c, const NormValues& values, const std::string& name,
                          const Where& where) {
  const nc_norm_spec& s = c.spec;
  const int64_t n = s.hidden_size, size = c.rows * n;
  Generator generator(name);
  harness::Data d;
  d.x = generator.draw(s.x_dtype, size, values.x);
  if (c.residual) d.residual = generator.draw(s.x_dtype, size, kOrdinary);
  const Values weights = s.gamma_offset == NC_GAMMA_NONE ? kNearOne : kSmall;
  if (c.hasWeight()) d.weight = generator.draw(s.weight_dtype, n, weights);
  if (c.hasBias()) d.bias = generator.draw(s.weight_dtype, n, kSmall);
  d.dy = generator.draw(c.dyFormat(), size, kOrdinary);
  if (c.dresidual) d.dresidual = generator.draw(s.x_dtype, size, kOrdinary);
  d.dweight = generator.draw(c.dweight_dtype, n, kOrdinary);
  d.dbias = generator.draw(c.dbias_dtype, n, kOrdinary);
  // Some values beyond the largest, some among the subnormals.
  d.y_scale = s.y_dtype == NC_FLOAT8_E4M3 ? 117.25f : 14321.75f;
  const harness::Result r = harness::run(c, d, where.form());
  Hash hash;
  hash.add("y", s.y_dtype, r.y);
  hash.add("y_amax", NC_FLOAT32, r.y_amax);
  hash.add("y_scale_inv", s.y_scaling == NC_SCALING_BLOCK ? NC_FLOAT8_E8M0 : NC_FLOAT32, r.y_scale_inv);
  hash.add("residual_out", s.x_dtype, r.residual_out);
  hash.add("mean", c.computeFormat(), r.mean);
  hash.add("rstd", c.computeFormat(), r.rstd);
  hash.add("dx", s.x_dtype, r.dx);
  hash.add("dweight", c.dweight_dtype, r.dweight);
  hash.add("dbias", c.dbias_dtype, r.dbias);
  return hash.finish();
}

struct Formats {
  int32_t x, weight, y;
  bool operator==(const Formats& other) const { return x == other.x && weight == other.weight && y == other.y; }
};

// The cases, part by part. All lists are local to this file, so that changes to other tests do not change them.
class Cases {
 public:
  Cases() {
    triples();
    policies();
    mixedFormats();
    values();
    manyRows();
    longRows();
    quantizedNorms();
    matrices();
    rotary();
  }
  const std::vector<Case>& all() const { return all_; }

 private:
  static constexpr int32_t kDtypes[] = {NC_FLOAT64, NC_FLOAT32, NC_BFLOAT16, NC_FLOAT16};
  static constexpr int32_t kWide[] = {NC_FLOAT32, NC_BFLOAT16, NC_FLOAT16};
  static constexpr int32_t kNarrow[] = {NC_FLOAT8_E4M3, NC_FLOAT8_E5M2};
  // The combinations with CUDA kernels of their own in version 0.
  static constexpr Formats kFast[] = {
      {NC_FLOAT32, NC_FLOAT32, NC_FLOAT32}, {NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16},
      {NC_FLOAT16, NC_FLOAT16, NC_FLOAT16}, {NC_BFLOAT16, NC_FLOAT32, NC_BFLOAT16},
      {NC_FLOAT16, NC_FLOAT32, NC_FLOAT16}, {NC_BFLOAT16, NC_FLOAT32, NC_FLOAT32},
      {NC_FLOAT16, NC_FLOAT32, NC_FLOAT32},
  };

  void add(const char* part, const harness::Case& c, const NormValues& v = {}) {
    const std::string name = nameOf(c, v);
    all_.push_back({part, name, [c, v, name](const Where& where) { return hashOf(c, v, name, where); }});
  }

  static harness::Case make(int32_t op, const Formats& f, int64_t rows, int64_t n) {
    harness::Case c;
    c.spec = harness::makeSpec(op, f.x, f.weight, f.y, n);
    c.spec.affine = op == NC_RMS_NORM ? NC_AFFINE_WEIGHT : NC_AFFINE_WEIGHT_AND_BIAS;
    c.spec.epsilon = 1e-5;
    c.rows = rows;
    c.dweight_dtype = c.dbias_dtype = f.weight;
    return c;
  }
  // Varies the gradients independently of a part's subject.
  static void varyGradients(harness::Case& c, int turn) {
    const auto vary = [](int by, int32_t& mode, int32_t& dtype) {
      if (by % 4 == 1) mode = NC_GRADIENT_ACCUMULATE;
      if (by % 4 == 1 || by % 4 == 2) dtype = NC_FLOAT32;
    };
    vary(turn, c.dweight_mode, c.dweight_dtype);
    vary(turn / 2, c.dbias_mode, c.dbias_dtype);
    if (turn % 7 == 3) c.dweight_mode = NC_GRADIENT_ABSENT;
    if (turn % 5 == 4) c.dbias_mode = NC_GRADIENT_ABSENT;
    if (turn % 11 == 5) c.dx = c.dresidual = false;
  }
  static void varyAll(harness::Case& c, int turn) {
    c.spec.scale_rounding = turn % 3;
    c.spec.gamma_offset = turn / 3 % 3;
    c.residual = turn % 2 == 1;
    c.dresidual = turn % 4 >= 2;
    c.spec.residual_rounding = turn / 4 % 2;
    if (c.isLayerNorm()) c.spec.variance = turn / 2 % 3;
    varyGradients(c, turn);
  }

  // The formats with kernels of their own, at sizes around vectors, lanes and tiles; rows for one group and several.
  void triples() {
    static const std::pair<int64_t, int64_t> sizes[] = {{1, 257},  {7, 33},   {8, 257},  {9, 33},
                                                        {64, 33},  {229, 33}, {256, 3},  {769, 17},
                                                        {1024, 9}, {4096, 9}, {5120, 3}, {8192, 5}};
    for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
      int triple = 0;
      for (const Formats& formats : kFast) {
        int turn = 7 * triple++ + 5 * op;
        for (const auto& [n, rows] : sizes) {
          harness::Case c = make(op, formats, rows, n);
          varyAll(c, ++turn);
          add(op == NC_RMS_NORM ? "TriplesOfRmsNorm" : "TriplesOfLayerNorm", c);
        }
      }
    }
  }

  // Every rounding with every offset, compute type, and residual rounding (RMSNorm) or variance (LayerNorm).
  void policies() {
    static const Formats formats[] = {{NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16}, {NC_FLOAT16, NC_FLOAT32, NC_FLOAT16},
                                      {NC_FLOAT64, NC_FLOAT32, NC_FLOAT64},    {NC_FLOAT32, NC_FLOAT32, NC_FLOAT32},
                                      {NC_BFLOAT16, NC_FLOAT16, NC_FLOAT32},   {NC_FLOAT32, NC_BFLOAT16, NC_FLOAT64}};
    static const int64_t sizes[] = {40, 229, 264, 512};
    int turn = 0;
    for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
      for (int32_t rounding = 0; rounding < 3; ++rounding) {
        for (int32_t offset = 0; offset < 3; ++offset) {
          for (int32_t compute = 0; compute < 2; ++compute) {
            for (int32_t other = 0; other < 3; ++other) {
              ++turn;
              harness::Case c = make(op, formats[turn * 7 / 3 % 6], 2 + turn % 17, sizes[turn * 3 / 2 % 4]);
              c.spec.scale_rounding = rounding;
              c.spec.gamma_offset = offset;
              c.spec.compute = compute;
              c.spec.variance = op == NC_LAYER_NORM ? other : NC_VARIANCE_TWO_PASS;
              const int32_t residual = op == NC_RMS_NORM ? other : turn / 2 % 3;
              c.residual = c.dresidual = residual > 0;
              c.spec.residual_rounding = residual == 2 ? NC_RESIDUAL_COMPUTE : NC_RESIDUAL_INPUT;
              c.spec.affine = offset == NC_GAMMA_NONE ? turn % 4 : 1 + turn / 3 % 2 * 2;
              varyGradients(c, turn);
              add("Policies", c);
            }
          }
        }
      }
    }
  }

  // Every triple of formats that has no kernel of its own.
  void mixedFormats() {
    static const int64_t sizes[] = {31, 264, 769};
    int turn = 0;
    for (const int32_t x : kDtypes) {
      for (const int32_t weight : kDtypes) {
        for (const int32_t y : kDtypes) {
          const Formats formats = {x, weight, y};
          if (std::find(std::begin(kFast), std::end(kFast), formats) != std::end(kFast)) continue;
          ++turn;
          harness::Case c = make(turn % 2, formats, 3, sizes[turn / 2 % 3]);
          c.spec.affine = NC_AFFINE_WEIGHT_AND_BIAS;
          varyAll(c, turn * 5 / 2);
          c.spec.compute = turn / 3 % 2;
          add("MixedFormats", c);
        }
      }
    }
  }

  // Values that are hard for the statistics: a mean far larger than the deviation, constant rows, zeros of both signs,
  // subnormals, the largest float16, sums of squares near the ends of float32 and beyond, many magnitudes in a row.
  void values() {
    int turn = 0;
    for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
      for (const int32_t dtype : kDtypes) {
        const bool half = dtype == NC_FLOAT16;
        const NormValues all[] = {{"offset", {10, 10, false, reference::format(dtype).fraction_bits / 3 + 1}},
                                  {"constant", {1, 1, false, 0}},
                                  {"zero", {-2000, -2000, true, 0}},
                                  {"subnormal", {-2000, -2000}},
                                  {"many_magnitudes", {-20, 10}},
                                  {"large", half ? Values{15, 15} : Values{58, 58}},
                                  {"small", half ? Values{-14, -13} : Values{-70, -70}},
                                  {"beyond_range", {66, 66}}};
        for (const NormValues& v : all) {
          if (v.x.low == 66 && (half || op == NC_LAYER_NORM)) continue;
          ++turn;
          harness::Case c = make(op, {dtype, dtype, dtype}, 3, turn % 3 == 0 ? 1024 : 229);
          if (op == NC_LAYER_NORM) c.spec.variance = turn * 5 / 3 % 3;
          c.spec.scale_rounding = turn / 2 % 3;
          c.spec.compute = dtype == NC_FLOAT64 && v.x.low == -2000 ? NC_COMPUTE_FLOAT64 : NC_COMPUTE_FLOAT32;
          if (v.x.high < -10 && v.x.low > -100) c.spec.epsilon = 0;
          add("Values", c, v);
        }
      }
    }
  }

  // Enough rows for many groups, and for the maximum number of groups.
  void manyRows() {
    static const std::pair<int64_t, int64_t> sizes[] = {{8, 8205},  {8, 2051},  {40, 1031}, {264, 257},
                                                        {769, 130}, {1024, 67}, {4096, 33}, {8192, 18}};
    int turn = 0;
    for (const auto& [n, rows] : sizes) {
      ++turn;
      harness::Case c = make(turn % 2, kFast[turn % 7], rows, n);
      c.spec.scale_rounding = turn / 2 % 3;
      if (turn % 4 == 0) c.dweight_mode = NC_GRADIENT_ACCUMULATE, c.dweight_dtype = NC_FLOAT32;
      add("ManyRows", c);
    }
  }

  // The longest row of one segment, and rows of 2 to 16 segments.
  void longRows() {
    static const int64_t sizes[] = {16384, 16392, 20000, 32776, 65537, 131072, 262144};
    for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
      int turn = op;
      for (const int64_t n : sizes) {
        for (int copy = 0; copy < (n < 20000 ? 3 : n < 65537 ? 2 : 1); ++copy) {
          ++turn;
          harness::Case c = make(op, kFast[turn % 7], n < 65537 ? 2 : 1, n);
          c.spec.scale_rounding = turn % 3;
          if (op == NC_LAYER_NORM) c.spec.variance = turn / 2 % 3;
          c.residual = c.dresidual = turn % 4 == 0;
          add(op == NC_RMS_NORM ? "LongRowsOfRmsNorm" : "LongRowsOfLayerNorm", c);
        }
      }
    }
  }

  // y in FP8.
  void quantizedNorms() {
    static const std::pair<int64_t, int64_t> sizes[] = {{7, 5}, {264, 5}, {4200, 2}};
    int turn = 0;
    for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
      for (const int32_t format : kNarrow) {
        for (const auto& [n, rows] : sizes) {
          for (int scaling = NC_SCALING_TENSOR; scaling <= NC_SCALING_BLOCK + 1; ++scaling) {
            ++turn;
            const bool power_of_two = scaling > NC_SCALING_BLOCK;
            const Formats formats = {kDtypes[turn * 5 / 4 % 4], kDtypes[turn * 7 / 3 % 4], format};
            harness::Case c = make(op, formats, rows, n);
            c.spec.y_scaling = power_of_two ? NC_SCALING_ROW : scaling;
            c.spec.y_power_of_two = power_of_two ? 1 : 0;
            c.spec.scale_rounding = turn * 4 / 3 % 3;
            c.spec.compute = turn / 5 % 2;
            c.spec.gamma_offset = turn / 7 % 3;
            c.residual = c.dresidual = turn % 3 == 1;
            c.spec.dy_dtype = kDtypes[turn / 3 % 4];
            add("QuantizedNorms", c);
          }
        }
      }
    }
  }

  // FP8 matrices, as used for parameters: amax, scale, codes with one scale and with block scales, and back.
  void matrices() {
    int turn = 0;
    for (const int32_t dtype : kWide) {
      for (const int32_t format : kNarrow) {
        for (const int64_t columns : {1, 31, 229, 4096}) {
          ++turn;
          const int32_t power_of_two = turn % 2, margin = turn / 2 % 3;
          const std::string name = "fp8 " + dtypeName(dtype) + " " + dtypeName(format) +
                                   " power_of_two=" + std::to_string(power_of_two) +
                                   " margin=" + std::to_string(margin) + " rows=3 columns=" + std::to_string(columns);
          all_.push_back({"Matrices", name, [=](const Where& where) {
                            return hashOfMatrix(name, dtype, format, power_of_two, margin, columns, where);
                          }});
        }
      }
    }
  }
  static std::string hashOfMatrix(const std::string& name, int32_t dtype, int32_t format, int32_t power_of_two,
                                  int32_t margin, int64_t columns, const Where& where) {
    Generator generator(name);
    const harness::Form form = where.form();
    const fp8::Matrix m{dtype, 3, columns, generator.draw(dtype, 3 * columns, {-14, 12})};
    Bits amaxes = generator.draw(NC_FLOAT32, 7, {-130, 127, false});
    amaxes[0] = fp8::bitsOf(fp8::runAmax(m, form));
    harness::Tensor amax = fp8::floats(amaxes), scale = fp8::floats(amaxes), scale_inv = fp8::floats(amaxes);
    harness::Residence at(where.cuda_device);
    const fp8::Fp8Plan plan(fp8::scaleSpec(format, margin, power_of_two != 0, where.cuda_device));
    const nc_fp8_args args = fp8::scaleArgs(7, at(amax), at(scale), at(scale_inv));
    check(nc_fp8_scale(plan, &args));
    at.bringBack();
    const Bits scales = scale.contents(), inverses = scale_inv.contents();
    const fp8::ByOne one = fp8::runQuantize(m, format, fp8::floatOf(scales[0]), true, form);
    const fp8::Blocks blocks = fp8::runQuantizeBlocks(m, format, form);
    const fp8::Matrix by_one{format, 3, columns, one.q}, by_block{format, 3, columns, blocks.q};
    Hash hash;
    hash.add("amax", NC_FLOAT32, {amaxes[0]});
    hash.add("scale", NC_FLOAT32, scales);
    hash.add("scale_inv", NC_FLOAT32, inverses);
    hash.add("q", format, one.q);
    hash.add("q_amax", NC_FLOAT32, {fp8::bitsOf(one.amax)});
    hash.add("q_blocks", format, blocks.q);
    hash.add("scale_inv_blocks", NC_FLOAT8_E8M0, blocks.codes);
    const Bits rows(inverses.begin(), inverses.begin() + 3);
    hash.add("y", dtype, fp8::runDequantize(by_one, NC_SCALING_TENSOR, {inverses[0]}, dtype, form));
    hash.add("y_rows", dtype, fp8::runDequantize(by_one, NC_SCALING_ROW, rows, dtype, form));
    hash.add("y_blocks", dtype, fp8::runDequantize(by_block, NC_SCALING_BLOCK, blocks.codes, dtype, form));
    return hash.finish();
  }

  // Heads rotated forward and, as a gradient, back. The table is an input of the C interface: any numbers up to 1.
  void rotary() {
    static const std::pair<int32_t, int32_t> dims[] = {{2, 2},     {128, 128}, {3, 2},   {80, 80},  {64, 64}, {96, 30},
                                                       {16, 8},    {229, 228}, {20, 20}, {64, 48},  {18, 16}, {96, 96},
                                                       {128, 126}, {64, 32},   {6, 6},   {229, 58}, {16, 16}, {80, 32}};
    int turn = 0;
    for (const int32_t x : kWide) {
      for (const int32_t table : kWide) {
        for (const int32_t layout : {NC_ROTARY_HALF_SPLIT, NC_ROTARY_INTERLEAVED}) {
          for (const int32_t rounding : {NC_ROTARY_ROUND_COMPUTE, NC_ROTARY_ROUND_INPUT}) {
            const auto& [head_dim, rotary_dim] = dims[turn % 18];
            harness::RotaryCase c = harness::makeRotary(x, table, layout, rounding, head_dim, rotary_dim);
            c.batch = 1 + turn % 2;
            c.seq = 1 + turn % 5;
            c.heads = 1 + turn % 3;
            c.table_batch_rows = turn % 4 >= 2 ? c.seq : 0;
            ++turn;
            addRotary(c);
          }
        }
      }
    }
    // Dimensions of a real model, with fewer tokens.
    for (const int32_t x : kWide) {
      for (const int32_t layout : {NC_ROTARY_HALF_SPLIT, NC_ROTARY_INTERLEAVED}) {
        ++turn;
        harness::RotaryCase c =
            harness::makeRotary(x, layout == NC_ROTARY_INTERLEAVED ? x : NC_FLOAT32, layout, turn % 2, 128, 128);
        c.batch = 2;
        c.seq = 19;
        c.heads = 9;
        c.table_batch_rows = turn % 3 == 0 ? c.seq : 0;
        addRotary(c);
      }
    }
  }
  void addRotary(const harness::RotaryCase& c) {
    const nc_rotary_spec& s = c.spec;
    std::ostringstream text;
    text << "rotary " << dtypeName(s.x_dtype) << " " << dtypeName(s.table_dtype)
         << " layout=" << (s.layout == NC_ROTARY_INTERLEAVED ? "interleaved" : "half_split")
         << " rounding=" << (s.rounding == NC_ROTARY_ROUND_INPUT ? "input" : "compute") << " head_dim=" << s.head_dim
         << " rotary_dim=" << s.rotary_dim << " batch=" << c.batch << " seq=" << c.seq << " heads=" << c.heads
         << " table_batch_rows=" << c.table_batch_rows;
    const std::string name = text.str();
    all_.push_back({"Rotary", name, [c, name](const Where& where) { return hashOfRotary(name, c, where); }});
  }
  static std::string hashOfRotary(const std::string& name, harness::RotaryCase c, const Where& where) {
    Generator generator(name);
    harness::RotaryData d;
    d.x = generator.draw(c.spec.x_dtype, c.elements(), kOrdinary);
    d.cos = generator.draw(c.spec.table_dtype, c.tableRows() * c.half(), {-8, -1});
    d.sin = generator.draw(c.spec.table_dtype, c.tableRows() * c.half(), {-8, -1});
    Hash hash;
    hash.add("y", c.spec.x_dtype, harness::runRotary(c, d, where.rotaryForm()));
    c.backward = 1;
    hash.add("dx", c.spec.x_dtype, harness::runRotary(c, d, where.rotaryForm()));
    return hash.finish();
  }

  std::vector<Case> all_;
};

inline const std::vector<Case>& cases() {
  static const Cases all;
  return all.all();
}

inline std::vector<std::string> parts() {
  std::vector<std::string> names;
  for (const Case& c : cases()) {
    if (names.empty() || names.back() != c.part) names.push_back(c.part);
  }
  return names;
}

// The file.

struct File {
  int version = -1;
  std::vector<std::pair<std::string, std::string>> lines;  // name, hash
  std::map<std::string, std::string> hashes;
};

inline File parse(std::istream& text) {
  static const std::string version = "# Numerics version ";
  File file;
  for (std::string line; std::getline(text, line);) {
    if (line.compare(0, version.size(), version) == 0) file.version = std::stoi(line.substr(version.size()));
    if (line.empty() || line[0] == '#') continue;
    const size_t space = line.find(' ');
    if (space != 64) throw std::runtime_error("expected 64 digits, a space and a name: " + line);
    const std::string name = line.substr(space + 1), hash = line.substr(0, space);
    if (!file.hashes.emplace(name, hash).second) throw std::runtime_error("listed twice: " + name);
    file.lines.emplace_back(name, hash);
  }
  return file;
}

inline const File& file() {
  static const File all = [] {
    std::istringstream text({nc_golden_file_begin, nc_golden_file_end});
    return parse(text);
  }();
  return all;
}

// Compares every case of a part, run as where(case) says, with the file.
inline void expectHashes(const std::string& part, const std::string& on,
                         const std::function<Where(const Case&)>& where) {
  int ran = 0, wrong = 0;
  for (const Case& c : cases()) {
    if (part != c.part) continue;
    ++ran;
    std::string hash;
    try {
      SCOPED_TRACE(c.name);
      hash = c.hash(where(c));
    } catch (const std::exception& e) {
      ADD_FAILURE() << on << ": " << c.name << "\n  " << e.what();
      continue;
    }
    const auto found = file().hashes.find(c.name);
    if (found == file().hashes.end()) {
      ADD_FAILURE() << c.name << "\n  is not in tests/golden/hashes.txt; golden_test --write appends it";
      continue;
    }
    if (hash == found->second) continue;
    if (++wrong > 10) continue;
    ADD_FAILURE() << on << ": " << c.name << "\n  expected " << found->second << "\n  got      " << hash;
  }
  EXPECT_GT(ran, 0) << "no such part: " << part;
  if (wrong > 0) ADD_FAILURE() << wrong << " of " << ran << " hashes differ: " << on << ". " << kAdvice;
}

}  // namespace golden
