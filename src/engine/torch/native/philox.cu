// Keyed noise drawn on the GPU: a thread a counter, the values of philox.h. Uniform values have the same bits; normal ones are
// computed in float64 and rounded once, so they agree to the last place.
#include <cuda_runtime.h>

#include "philox_cuda.h"

namespace isoerg {

static __global__ void noiseKernel(PhiloxKey key, bool normal, const int32_t* positions, uint64_t numCounters, uint32_t perRow, uint32_t rowSize, float* out) {
  for (uint64_t i = blockIdx.x * static_cast<uint64_t>(blockDim.x) + threadIdx.x; i < numCounters; i += static_cast<uint64_t>(gridDim.x) * blockDim.x) {
    const uint64_t row = i / perRow;
    const uint32_t block = static_cast<uint32_t>(i % perRow);
    uint32_t word[4];
    float value[4];
    philoxWords(key, static_cast<uint32_t>(positions[row]), block, word);
    if (normal) normalValues(word, value);
    else uniformValues(word, value);
    float* to = out + row * rowSize + 4 * static_cast<uint64_t>(block);
    const uint32_t left = rowSize - 4 * block;
    for (uint32_t w = 0; w < 4 && w < left; w++) to[w] = value[w];
  }
}

const char* drawOnDevice(const PhiloxKey& key, bool normal, const int32_t* positions, uint64_t numRows, uint32_t rowSize, float* out, void* stream) {
  const uint32_t perRow = (rowSize + 3) / 4;
  const uint64_t numCounters = numRows * perRow;
  if (numCounters == 0) return nullptr;
  constexpr uint64_t kThreads = 256, kMostBlocks = 65535;
  const uint64_t blocks = (numCounters + kThreads - 1) / kThreads;
  noiseKernel<<<static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      key, normal, positions, numCounters, perRow, rowSize, out);
  const cudaError_t status = cudaGetLastError();
  return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

} // namespace isoerg
