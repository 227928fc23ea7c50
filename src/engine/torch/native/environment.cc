// setDefault(name, value): a variable of the process's environment, where it has none. OpenMP and OpenBLAS read theirs once,
// when they are loaded with the bridge. In a worker thread Node's process.env is a copy that the process never sees, so this
// stands in a library of its own, without libtorch, that is loaded before.
#include <node_api.h>
#include <stdlib.h>

static napi_value setDefault(napi_env env, napi_callback_info info) {
  size_t count = 2, length;
  napi_value values[2];
  char name[64], value[64];
  if (napi_get_cb_info(env, info, &count, values, nullptr, nullptr) != napi_ok || count != 2 ||
      napi_get_value_string_utf8(env, values[0], name, sizeof name, &length) != napi_ok ||
      napi_get_value_string_utf8(env, values[1], value, sizeof value, &length) != napi_ok) {
    napi_throw_type_error(env, nullptr, "setDefault takes a name and a value");
    return nullptr;
  }
  setenv(name, value, 0);
  return nullptr;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "setDefault", NAPI_AUTO_LENGTH, setDefault, nullptr, &function);
  napi_set_named_property(env, exports, "setDefault", function);
  return exports;
}
