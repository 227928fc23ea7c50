// A call from JavaScript: its arguments, checked, and what it gives back. Whatever goes wrong becomes a JavaScript error.
#pragma once

#include <node_api.h>

#include <cstring>
#include <exception>
#include <string>

namespace isoerg {

struct Fault {
  std::string what;
};

[[noreturn]] inline void fault(const std::string& what, int error = 0) { throw Fault{error ? what + ": " + strerror(error) : what}; }

struct Call {
  napi_env env;
  napi_value values[12];
  size_t count = 12;
  Call(napi_env e, napi_callback_info info) : env(e) { napi_get_cb_info(env, info, &count, values, nullptr, nullptr); }
  double number(size_t i) const {
    double value = 0;
    if (i >= count || napi_get_value_double(env, values[i], &value) != napi_ok) fault("argument " + std::to_string(i) + " must be a number");
    return value;
  }
  std::string text(size_t i) const {
    char buffer[128];
    size_t length = 0;
    if (i >= count || napi_get_value_string_utf8(env, values[i], buffer, sizeof buffer, &length) != napi_ok) fault("argument must be a string");
    return {buffer, length};
  }
  float* floats(size_t i, size_t& length) const {
    napi_typedarray_type type;
    void* data = nullptr;
    if (i >= count || napi_get_typedarray_info(env, values[i], &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_float32_array)
      fault("argument " + std::to_string(i) + " must be a Float32Array");
    return static_cast<float*>(data);
  }
  const double* doubles(size_t i, size_t& length) const {
    napi_typedarray_type type;
    void* data = nullptr;
    if (i >= count || napi_get_typedarray_info(env, values[i], &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_float64_array)
      fault("argument " + std::to_string(i) + " must be a Float64Array");
    return static_cast<const double*>(data);
  }
  napi_value give(double value) const {
    napi_value result;
    napi_create_double(env, value, &result);
    return result;
  }
};

template <napi_value (*Function)(Call&)> napi_value guarded(napi_env env, napi_callback_info info) {
  Call call(env, info);
  try {
    return Function(call);
  } catch (const Fault& thrown) {
    napi_throw_error(env, nullptr, thrown.what.c_str());
  } catch (const std::exception& thrown) {
    napi_throw_error(env, nullptr, thrown.what());
  }
  return nullptr;
}

struct NativeFunction {
  const char* name;
  napi_callback function;
};

template <size_t Count> void define(napi_env env, napi_value exports, const NativeFunction (&functions)[Count]) {
  for (const auto& [name, function] : functions) {
    napi_value value;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value);
    napi_set_named_property(env, exports, name, value);
  }
}

} // namespace isoerg
