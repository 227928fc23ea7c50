// The parts of the library that JavaScript sees.
#pragma once

#include <node_api.h>

namespace isoerg {

// Memory shared between the processes of a host: host_memory.cc.
void defineHostMemory(napi_env env, napi_value exports);

// Sums over TCP: streams_module.cc.
void defineStreams(napi_env env, napi_value exports);

} // namespace isoerg
