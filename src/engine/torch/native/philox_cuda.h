// The seam between the bridge, which g++ compiles, and philox.cu, which nvcc compiles.
#pragma once
#include "philox_math.h"

namespace isoerg {

// Rows of keyed noise into device memory `out` [numRows][rowSize], on a CUDA stream. `positions` lie in device memory. Returns
// null, or what CUDA says went wrong.
const char* drawOnDevice(const PhiloxKey& key, bool normal, const int32_t* positions, uint64_t numRows, uint32_t rowSize, float* out, void* stream);

} // namespace isoerg
