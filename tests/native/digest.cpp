// Prints one line per case with a digest of every bit of its results: run on two machines, the output is the same.
//
//   digest [LEVEL...]    the vector levels that compute each case and must agree; all that this machine has, if none

#include <algorithm>
#include <cstdio>

#include "fp8.h"
#include "harness.h"
#include "rotary_harness.h"

namespace {

using namespace harness;

void mix(uint64_t& hash, const Bits& bits) {
  for (const uint64_t b : bits) {
    for (int byte = 0; byte < 8; ++byte) hash = (hash ^ (b >> (8 * byte) & 0xFF)) * 0x100000001B3u;
  }
}

// Draws without the C++ library's distributions, whose logarithms may round differently from one machine to another.
Bits drawPlainly(std::mt19937_64& random, int32_t dtype, int64_t count, double centre) {
  Bits bits(static_cast<size_t>(count));
  for (uint64_t& b : bits) {
    b = reference::encode(reference::format(dtype), centre + static_cast<double>(random() >> 11) * 0x1p-51 - 2);
  }
  return bits;
}

void print(const Case& c, const std::vector<int32_t>& levels) {
  std::mt19937_64 random(99);
  const int64_t n = c.spec.hidden_size, size = c.rows * n;
  Data d;
  d.x = drawPlainly(random, c.spec.x_dtype, size, 0.3);
  if (c.residual) d.residual = drawPlainly(random, c.spec.x_dtype, size, 0);
  if (c.hasWeight()) d.weight = drawPlainly(random, c.spec.weight_dtype, n, 1);
  if (c.hasBias()) d.bias = drawPlainly(random, c.spec.weight_dtype, n, 0);
  d.dy = drawPlainly(random, c.dyFormat(), size, 0.1);
  if (c.dresidual) d.dresidual = drawPlainly(random, c.spec.x_dtype, size, 0);
  d.dweight = d.dbias = drawPlainly(random, NC_FLOAT32, n, 0);
  d.y_scale = 117.3f;
  uint64_t common = 0;
  for (const int32_t level : levels) {
    Form form;
    form.level = level;
    const Result r = run(c, d, form);
    uint64_t hash = 0xCBF29CE484222325u;
    for (const Bits* bits :
         {&r.y, &r.residual_out, &r.mean, &r.rstd, &r.dx, &r.dweight, &r.dbias, &r.y_amax, &r.y_scale_inv})
      mix(hash, *bits);
    if (level != levels.front() && hash != common)
      throw std::runtime_error(levelName(level) + " differs: " + c.describe());
    common = hash;
  }
  std::printf("%016llx  %s\n", static_cast<unsigned long long>(common), c.describe().c_str());
}

// A matrix quantised by one scale and by blocks, with its largest magnitude, and back.
void printFp8(int32_t dtype, int32_t format, int64_t columns, const std::vector<int32_t>& levels) {
  std::mt19937_64 random(98);
  const fp8::Matrix m{dtype, 3, columns, drawPlainly(random, dtype, 3 * columns, 0)};
  uint64_t common = 0;
  for (const int32_t level : levels) {
    Form form;
    form.level = level;
    const fp8::ByOne one = fp8::runQuantize(m, format, 117.3f, true, form);
    const fp8::Blocks blocks = fp8::runQuantizeBlocks(m, format, form);
    uint64_t hash = 0xCBF29CE484222325u;
    for (const Bits& bits : {one.q, Bits{fp8::bitsOf(one.amax)}, blocks.q, blocks.codes}) mix(hash, bits);
    mix(hash, fp8::runDequantize({format, 3, columns, one.q}, NC_SCALING_TENSOR, {fp8::bitsOf(0.37f)}, dtype, form));
    mix(hash, fp8::runDequantize({format, 3, columns, blocks.q}, NC_SCALING_BLOCK, blocks.codes, dtype, form));
    if (level != levels.front() && hash != common) {
      throw std::runtime_error(levelName(level) + " differs: fp8 " + fp8::describe(m, format, form));
    }
    common = hash;
  }
  std::printf("%016llx  fp8 %s -> %s %lld\n", static_cast<unsigned long long>(common), fp8::name(dtype).c_str(),
              fp8::name(format).c_str(), static_cast<long long>(columns));
}

// Heads turned there and, as a gradient, back, special values among them.
void printRotary(RotaryCase c, const std::vector<int32_t>& levels) {
  std::mt19937_64 random(97);
  RotaryData d;
  d.x = drawPlainly(random, c.spec.x_dtype, c.elements(), 0);
  d.cos = drawPlainly(random, c.spec.table_dtype, c.tableRows() * c.half(), 0);
  d.sin = drawPlainly(random, c.spec.table_dtype, c.tableRows() * c.half(), 0);
  strewSpecial(c, 96, d);
  uint64_t common = 0;
  for (const int32_t level : levels) {
    RotaryForm form;
    form.level = level;
    uint64_t hash = 0xCBF29CE484222325u;
    for (const int32_t backward : {0, 1}) {
      c.backward = backward;
      mix(hash, runRotary(c, d, form));
    }
    if (level != levels.front() && hash != common)
      throw std::runtime_error(levelName(level) + " differs: rotary " + c.describe());
    common = hash;
  }
  std::printf("%016llx  rotary %s\n", static_cast<unsigned long long>(common), c.describe().c_str());
}

std::vector<int32_t> levelsNamed(const std::vector<std::string>& names) {
  const std::vector<int32_t> supported = supportedLevels();
  if (names.empty()) return supported;
  std::vector<int32_t> levels;
  for (const std::string& name : names) {
    const auto named = [&](int32_t level) { return levelName(level) == name; };
    const auto found = std::find_if(supported.begin(), supported.end(), named);
    if (found == supported.end()) throw std::runtime_error("this machine has no level " + name);
    levels.push_back(*found);
  }
  return levels;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<int32_t> levels = levelsNamed({argv + 1, argv + argc});
  const int32_t dtypes[] = {NC_FLOAT64, NC_FLOAT32, NC_BFLOAT16, NC_FLOAT16};
  int turn = 0;
  for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
    for (const int32_t x : dtypes) {
      for (const int32_t weight : dtypes) {
        for (const int32_t y : dtypes) {
          for (int32_t rounding = 0; rounding < 3; ++rounding) {
            ++turn;
            const int64_t sizes[] = {1, 7, 31, 229, 769, 4096};
            Case c;
            c.spec = makeSpec(op, x, weight, y, sizes[turn % 6]);
            c.spec.affine = NC_AFFINE_WEIGHT_AND_BIAS;
            c.spec.scale_rounding = rounding;
            c.spec.gamma_offset = turn / 3 % 3;
            c.spec.compute = turn / 5 % 2;
            c.spec.variance = op == NC_LAYER_NORM ? turn / 2 % 3 : 0;
            c.residual = c.dresidual = turn % 4 == 0;
            c.spec.residual_rounding = turn / 4 % 2;
            c.rows = 1 + turn % 9;
            c.dweight_mode = turn % 7 == 0 ? NC_GRADIENT_ACCUMULATE : NC_GRADIENT_WRITE;
            print(c, levels);
          }
        }
      }
    }
  }
  for (const int32_t y : {NC_FLOAT8_E4M3, NC_FLOAT8_E5M2}) {
    for (const int32_t scaling : {NC_SCALING_TENSOR, NC_SCALING_ROW, NC_SCALING_BLOCK}) {
      for (const int32_t x : dtypes) {
        ++turn;
        const int64_t sizes[] = {31, 229, 4200};
        Case c;
        c.spec = makeSpec(NC_RMS_NORM, x, dtypes[turn / 4 % 4], y, sizes[turn % 3]);
        c.spec.y_scaling = scaling;
        c.spec.dy_dtype = x;
        c.spec.compute = turn / 5 % 2;
        c.spec.scale_rounding = turn / 2 % 3;
        print(c, levels);
      }
    }
  }
  for (const int32_t dtype : fp8::kWide) {
    for (const int32_t format : fp8::kNarrow) {
      for (const int64_t columns : {31, 229, 4096}) printFp8(dtype, format, columns, levels);
    }
  }
  for (const int32_t x : rotaryDtypes()) {
    for (const int32_t table : rotaryDtypes()) {
      for (const int32_t layout : {NC_ROTARY_HALF_SPLIT, NC_ROTARY_INTERLEAVED}) {
        for (const int32_t rounding : {NC_ROTARY_ROUND_COMPUTE, NC_ROTARY_ROUND_INPUT}) {
          for (const auto& [head_dim, rotary_dim] : headDims()) {
            if (++turn % 4 == 0) printRotary(makeRotary(x, table, layout, rounding, head_dim, rotary_dim), levels);
          }
        }
      }
    }
  }
  for (const int64_t n : {20000, 65537, 262144}) {
    for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
      Case c;
      c.spec = makeSpec(op, NC_BFLOAT16, NC_FLOAT32, NC_BFLOAT16, n);
      c.rows = 2;
      print(c, levels);
    }
  }
  return 0;
}
