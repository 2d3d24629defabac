// A CUDA plugin that computes nothing: it writes down what it is asked and answers as told. Two devices. What the test
// says to it goes through fake_plugin(), which the library exports beside the plugin's own function.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cuda/plugin.h"

struct FakePlugin {
  std::vector<std::string> calls;  // name and arguments, without those of errors and lookups
  std::vector<int64_t> lookups;

  // What the last call of the kind got.
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

  std::map<std::string, int32_t> errors;  // by name of the call
  int32_t devices = 2;
  int32_t host_memory_visible = 0;
  std::map<int64_t, int32_t> places;  // answers of lookups
  int32_t place = nc::kAnyDevice;     // of all other addresses
};

#define FAKE_PLUGIN_SYMBOL "fake_plugin"
using fake_plugin_function = FakePlugin& (*)();
