// Counts of the memory pools: our own on the CPU, PyTorch's caching allocator on a GPU. The latter can be asked without
// CUDA's headers from libtorch 2.10 on; before, a GPU's counts are zero.
#pragma once
#include <torch/csrc/api/include/torch/version.h>

#include "pool.h"

#define ISOERG_TORCH_AT_LEAST(major, minor) \
  (TORCH_VERSION_MAJOR > (major) || (TORCH_VERSION_MAJOR == (major) && TORCH_VERSION_MINOR >= (minor)))

#if ISOERG_TORCH_AT_LEAST(2, 10)
#include <c10/core/CachingDeviceAllocator.h>
#endif

namespace isoerg {

inline PoolCounts memoryCounts(int device) {
  if (device < 0) return Pool::instance().counts();
  PoolCounts counts;
#if ISOERG_TORCH_AT_LEAST(2, 10)
  auto stats = c10::getDeviceAllocator(c10::DeviceType::CUDA)->getDeviceStats(static_cast<c10::DeviceIndex>(device));
  const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  counts.held = static_cast<size_t>(stats.allocated_bytes[all].current);
  counts.peak = static_cast<size_t>(stats.allocated_bytes[all].peak);
  counts.cached = static_cast<size_t>(stats.reserved_bytes[all].current) - counts.held;
#endif
  return counts;
}

inline void resetMemoryPeak(int device) {
  if (device < 0) Pool::instance().resetPeak();
#if ISOERG_TORCH_AT_LEAST(2, 10)
  else c10::getDeviceAllocator(c10::DeviceType::CUDA)->resetPeakStats(static_cast<c10::DeviceIndex>(device));
#endif
}

} // namespace isoerg
