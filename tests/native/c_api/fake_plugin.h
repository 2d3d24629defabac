// A fake CUDA plugin with two devices: it computes nothing, records its calls and returns configured results. A test
// controls it through fake_plugin(), which the library exports beside the plugin's own function.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cuda/plugin.h"

struct FakePlugin {
  std::vector<std::string> calls;  // name and arguments, except error and lookup calls
  std::vector<int64_t> lookups;

  // The arguments of the last call of each kind.
  nc::CudaNorm prepared, norm;
  nc::ForwardArguments forward;
  nc::BackwardArguments backward;
  std::vector<nc::ColumnArguments> columns;
  nc::RotarySpec rotary_spec;
  nc::RotaryArguments rotary;
  nc::Fp8AmaxArguments amax;
  nc::Fp8ScaleArguments scale;
  nc::Fp8QuantizeArguments quantize;
  nc::Fp8DequantizeArguments dequantize;

  std::map<std::string, int32_t> errors;  // by call name
  int32_t devices = 2;
  int32_t host_memory_visible = 0;
  std::map<int64_t, int32_t> places;  // results of lookups
  int32_t place = nc::kAnyDevice;     // for all other addresses
};

#define FAKE_PLUGIN_SYMBOL "fake_plugin"
using fake_plugin_function = FakePlugin& (*)();
