// The golden hashes at every vector level of this machine, and the program that writes their file. golden.h has the
// cases and says when the file may change.
//
// golden_test                      checks this machine's levels against the file that the program was built with
// golden_test --print LEVEL...     prints the lines of all cases, in which the levels must agree
// golden_test --write FILE         appends new cases; or rewrites the file, if its numerics version is older

#include "support/golden.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iostream>

namespace {

using namespace golden;

TEST(GoldenParts, Sha256) {
  const auto hashOfText = [](const std::string& text) {
    Sha256 sha;
    sha.add(text);
    return sha.finish();
  };
  EXPECT_EQ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", hashOfText(""));
  EXPECT_EQ("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", hashOfText("abc"));
  EXPECT_EQ("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            hashOfText("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"));
  EXPECT_EQ("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", hashOfText(std::string(1000000, 'a')));
}

// A failure here means that the inputs have changed, not the library.
TEST(GoldenParts, Generator) {
  Generator generator("");
  EXPECT_EQ(0xCBF29CE484222325u, fnv1a(""));
  EXPECT_EQ(0xAF63DC4C8601EC8Cu, fnv1a("a"));
  EXPECT_EQ(0xC3817C016BA4FF30u, generator.next());
  EXPECT_EQ(0x100CDAACC0BC9316u, generator.next());
  for (const int32_t dtype : {NC_FLOAT64, NC_FLOAT32, NC_BFLOAT16, NC_FLOAT16}) {
    const reference::Format& f = reference::format(dtype);
    for (const uint64_t bits : generator.draw(dtype, 1000, kOrdinary)) {
      const double magnitude = std::fabs(reference::decode(f, bits));
      EXPECT_TRUE(magnitude >= 0.125 && magnitude < 4) << magnitude;
    }
    for (const uint64_t bits : generator.draw(dtype, 1000, {-2000, -2000, false})) {
      EXPECT_LT(reference::decode(f, bits), std::ldexp(1.0, 1 - f.bias));
    }
    for (const uint64_t bits : generator.draw(dtype, 1000, {2000, 2000})) {
      EXPECT_TRUE(std::isfinite(reference::decode(f, bits)));
    }
  }
}

TEST(GoldenParts, RefusesNan) {
  for (const auto& [dtype, nan] : std::vector<std::pair<int32_t, uint64_t>>{{NC_FLOAT64, 0x7FF0000000000001u},
                                                                            {NC_FLOAT32, 0xFF800001u},
                                                                            {NC_BFLOAT16, 0x7FC0u},
                                                                            {NC_FLOAT16, 0xFFFFu},
                                                                            {NC_FLOAT8_E4M3, 0xFFu},
                                                                            {NC_FLOAT8_E5M2, 0x7Du},
                                                                            {NC_FLOAT8_E8M0, 0xFFu}}) {
    Hash hash;
    EXPECT_THROW(hash.add("y", dtype, {0, nan}), std::runtime_error) << dtypeName(dtype);
    EXPECT_NO_THROW(hash.add("y", dtype, {0, 0x7Cu})) << dtypeName(dtype);
  }
}

TEST(GoldenFile, HasEveryCase) {
  EXPECT_EQ(kNumericsVersion, file().version) << "golden_test --write makes the file of this version";
  std::map<std::string, int> known;
  for (const Case& c : cases()) {
    EXPECT_EQ(1, ++known[c.name]) << "two cases have this name: " << c.name;
    EXPECT_EQ(1u, file().hashes.count(c.name)) << "not in the file, run golden_test --write: " << c.name;
  }
  for (const auto& [name, hash] : file().lines) EXPECT_EQ(1u, known.count(name)) << "not a case any more: " << name;
}

class GoldenHashes : public ::testing::TestWithParam<std::tuple<int32_t, std::string>> {};

INSTANTIATE_TEST_SUITE_P(Cpu, GoldenHashes,
                         ::testing::Combine(::testing::ValuesIn(harness::supportedLevels()),
                                            ::testing::ValuesIn(parts())),
                         [](const auto& info) {
                           return harness::levelName(std::get<0>(info.param)) + "_" + std::get<1>(info.param);
                         });

TEST_P(GoldenHashes, Agree) {
  const auto& [level, part] = GetParam();
  for (const bool in_ranges : {false, true}) {
    Where where;
    where.level = level;
    where.in_ranges = in_ranges;
    expectHashes(part, harness::levelName(level) + (in_ranges ? ", in ranges" : ", whole"),
                 [&](const Case&) { return where; });
  }
}

// A case's hash, equal at all of the levels.
std::string agreedHash(const Case& c, const std::vector<int32_t>& levels) {
  std::string agreed;
  for (const int32_t level : levels) {
    Where where;
    where.level = level;
    std::string hash;
    try {
      hash = c.hash(where);
    } catch (const std::exception& e) {
      throw std::runtime_error(c.name + ": " + e.what());
    }
    if (!agreed.empty() && hash != agreed) throw std::runtime_error(harness::levelName(level) + " differs: " + c.name);
    agreed = hash;
  }
  return agreed;
}

std::vector<int32_t> levelsNamed(const std::vector<std::string>& names) {
  const std::vector<int32_t> supported = harness::supportedLevels();
  std::vector<int32_t> levels;
  for (const std::string& name : names) {
    const auto named = [&](int32_t level) { return harness::levelName(level) == name; };
    const auto found = std::find_if(supported.begin(), supported.end(), named);
    if (found == supported.end()) throw std::runtime_error("this machine has no level " + name);
    levels.push_back(*found);
  }
  return levels.empty() ? supported : levels;
}

void print(const std::vector<std::string>& levels) {
  for (const Case& c : cases()) std::cout << agreedHash(c, levelsNamed(levels)) << " " << c.name << std::endl;
}

// Nothing is written if a hash of the same version differs.
void write(const std::string& path) {
  File old;
  if (std::ifstream text{path}) old = parse(text);
  if (old.version > kNumericsVersion) throw std::runtime_error(path + " has a higher numerics version");
  const bool anew = old.version < kNumericsVersion;
  std::map<std::string, std::string> hashes;
  std::vector<std::pair<std::string, std::string>> lines;
  if (!anew) lines = old.lines;
  for (const Case& c : cases()) {
    const std::string hash = agreedHash(c, harness::supportedLevels());
    hashes[c.name] = hash;
    if (anew || old.hashes.count(c.name) == 0) lines.emplace_back(c.name, hash);
  }
  for (const auto& [name, hash] : lines) {
    const auto found = hashes.find(name);
    if (found == hashes.end()) throw std::runtime_error("not a case any more: " + name);
    if (found->second != hash) throw std::runtime_error(name + ": " + kAdvice);
  }
  std::ofstream to(path);
  to << "# Golden hashes: the SHA-256 of all output bits of each case. tests/native/support/golden.h defines the "
        "cases.\n"
        "# Numerics version "
     << kNumericsVersion
     << "\n"
        "# A hash may change only with a raised numerics version (kNumericsVersion in golden.h). New cases are "
        "appended.\n"
        "# Made by: ninja -C target/native-build golden_test &&\n"
        "#          target/native-build/tests/golden_test --write tests/golden/hashes.txt\n"
        "# Checked by: ctest --test-dir target/native-build -R Golden\n";
  for (const auto& [name, hash] : lines) to << hash << " " << name << "\n";
  to.close();
  if (!to) throw std::runtime_error("cannot write " + path);
  std::cout << lines.size() << " cases in " << path << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty()) return RUN_ALL_TESTS();
  try {
    if (arguments[0] == "--print") {
      print({arguments.begin() + 1, arguments.end()});
      return 0;
    }
    if (arguments[0] == "--write" && arguments.size() == 2) {
      write(arguments[1]);
      return 0;
    }
    std::cerr << "usage: golden_test [--print LEVEL... | --write FILE]" << std::endl;
    return 2;
  } catch (const std::exception& e) {
    std::cerr << e.what() << std::endl;
    return 1;
  }
}
