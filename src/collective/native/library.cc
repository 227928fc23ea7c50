// What a thread of Node gets when it loads the library: the functions of ../host-memory.ts and ../native-streams.ts.
#include "modules.h"

NAPI_MODULE_INIT() {
  isoerg::defineHostMemory(env, exports);
  isoerg::defineStreams(env, exports);
  return exports;
}
