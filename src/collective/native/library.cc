// What a thread of Node gets when it loads the library: the functions of ../host-memory.ts.
#include "modules.h"

NAPI_MODULE_INIT() {
  isoerg::defineHostMemory(env, exports);
  return exports;
}
