// One call from JavaScript: the environment's state, arguments converted on demand, results, and errors turned into
// JavaScript's. Every entry runs in inference mode: gradients are explicit here, so ATen's own bookkeeping is never wanted.
#pragma once
#include <ATen/Functions.h>
#include <c10/core/InferenceMode.h>
#include <node_api.h>

#include <string>
#include <vector>

#ifdef ISOERG_CUDA
#include "cuda_device.h"
#endif
#include "operators.h"
#include "tensors.h"

namespace isoerg {

struct State {
  Tensors tensors;
  std::vector<Operator> operators;
  std::vector<std::string> strings;
  torch::jit::Stack stack;
  double* cells = nullptr; // the array shared with JavaScript
  size_t numCells = 0;
  napi_ref cellsReference = nullptr; // keeps it alive
#ifdef ISOERG_CUDA
  std::vector<std::unique_ptr<RecordedLaunches>> recordings; // by number; null once dropped
#endif
};

static std::string firstLine(const char* text) {
  std::string line(text);
  auto end = line.find('\n');
  if (end != std::string::npos) line.resize(end);
  return line;
}

static void raise(napi_env env, const std::string& message) {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_error(env, "ERR_TORCH", message.c_str());
}

static void check(napi_env env, napi_status status) {
  if (status == napi_ok) return;
  const napi_extended_error_info* info = nullptr;
  napi_get_last_error_info(env, &info);
  throw std::runtime_error(info && info->error_message ? info->error_message : "a wrong argument");
}

// The arguments of one call from JavaScript, converted on demand.
struct Call {
  napi_env env;
  State& state;
  size_t count;
  napi_value values[10];

  double number(size_t i) const {
    double value;
    check(env, napi_get_value_double(env, values[i], &value));
    return value;
  }
  int32_t integer(size_t i) const {
    int32_t value;
    check(env, napi_get_value_int32(env, values[i], &value));
    return value;
  }
  uint32_t word(size_t i) const {
    uint32_t value;
    check(env, napi_get_value_uint32(env, values[i], &value));
    return value;
  }
  std::string string(size_t i) const {
    size_t length;
    check(env, napi_get_value_string_utf8(env, values[i], nullptr, 0, &length));
    std::string text(length, '\0');
    check(env, napi_get_value_string_utf8(env, values[i], &text[0], length + 1, &length));
    return text;
  }
  napi_value make(double value) const {
    napi_value result;
    check(env, napi_create_double(env, value, &result));
    return result;
  }
  napi_value make(const std::string& value) const {
    napi_value result;
    check(env, napi_create_string_utf8(env, value.data(), value.size(), &result));
    return result;
  }
  void set(napi_value object, const char* name, double value) const {
    check(env, napi_set_named_property(env, object, name, make(value)));
  }
  ResultWriter results() const { return ResultWriter(state.cells, state.numCells, state.tensors); }
};

struct Array {
  napi_typedarray_type type;
  size_t length;
  void* data;
};

static Array arrayOf(const Call& call, size_t i) {
  Array array;
  check(call.env, napi_get_typedarray_info(call.env, call.values[i], &array.type, &array.length, &array.data, nullptr, nullptr));
  return array;
}

static at::ScalarType scalarTypeOf(const Array& array) {
  switch (array.type) {
    case napi_float32_array: return at::kFloat;
    case napi_float64_array: return at::kDouble;
    case napi_int32_array: return at::kInt;
    case napi_uint8_array:
    case napi_uint8_clamped_array: return at::kByte;
    default: TORCH_CHECK(false, "a typed array of a kind that tensors don't have");
  }
}

static size_t bytesPerElement(const Array& array) { return c10::elementSize(scalarTypeOf(array)); }

using Body = napi_value (*)(const Call&);

template <Body body>
static napi_value entry(napi_env env, napi_callback_info info) {
  State* state = nullptr;
  napi_get_instance_data(env, reinterpret_cast<void**>(&state));
  Call call{env, *state, 10, {}};
  napi_get_cb_info(env, info, &call.count, call.values, nullptr, nullptr);
  try {
    c10::InferenceMode inference(true);
    return body(call);
  } catch (const c10::Error& error) {
    raise(env, firstLine(error.what_without_backtrace()));
  } catch (const std::exception& error) {
    raise(env, firstLine(error.what()));
  }
  return nullptr;
}

static at::Tensor onDevice(const at::Tensor& tensor, int device) {
  if (device < 0) return tensor;
  return tensor.to(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device)), tensor.scalar_type(), true);
}

static std::vector<int64_t> shapeFromCells(const State& state) {
  size_t rank = static_cast<size_t>(state.cells[0]);
  return std::vector<int64_t>(state.cells + 1, state.cells + 1 + rank);
}

static napi_value writeAll(const Call& call, const std::vector<at::Tensor>& results) {
  ResultWriter writer = call.results();
  for (const at::Tensor& result : results) writer.write(result);
  return call.make(writer.count());
}

// 1 with the result in the shared array, or 0 where there is none.
static napi_value writeIfDefined(const Call& call, const at::Tensor& result) {
  if (!result.defined()) return call.make(0);
  return writeAll(call, {result});
}

} // namespace isoerg
