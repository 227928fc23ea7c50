// What needs CUDA's own headers: noise on the current stream, and graphs of launches. Compiled only where libtorch has CUDA and the
// headers are there (ISOERG_CUDA); everything else in the bridge reaches a GPU through ATen alone, and does without these.
#pragma once
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <memory>
#include <optional>
#include <vector>

#include "philox_cuda.h"

namespace isoerg {

#ifdef ISOERG_CUDA_NOISE
// positions in host memory; the copy goes through pinned memory that the caching allocator keeps until the stream has read it.
inline at::Tensor noiseOnDevice(const PhiloxKey& key, bool normal, const int32_t* positions, int64_t numRows, const std::vector<int64_t>& shape, int device) {
  const at::Device cuda(at::kCUDA, static_cast<c10::DeviceIndex>(device));
  c10::cuda::CUDAGuard guard(cuda);
  at::Tensor rows = at::empty({numRows}, at::TensorOptions(at::kInt).pinned_memory(true));
  if (numRows) memcpy(rows.data_ptr(), positions, sizeof(int32_t) * static_cast<size_t>(numRows));
  at::Tensor onDevice = rows.to(cuda, at::kInt, true);
  at::Tensor out = at::empty(shape, at::TensorOptions(at::kFloat).device(cuda));
  const auto rowSize = static_cast<uint32_t>(numRows ? out.numel() / numRows : 0);
  const char* failure = drawOnDevice(
      key, normal, onDevice.data_ptr<int32_t>(), static_cast<uint64_t>(numRows), rowSize, out.data_ptr<float>(),
      c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(device)).stream());
  TORCH_CHECK(failure == nullptr, "CUDA error: ", failure, " while noise was drawn");
  return out;
}
#endif

// The launches of a piece of work with fixed shapes, recorded once and replayed as one. Capture needs a stream of its own; tensors
// that are made meanwhile come from the graph's own memory pool and keep their addresses as long as it lives.
class RecordedLaunches {
 public:
  explicit RecordedLaunches(int device) : device_(static_cast<c10::DeviceIndex>(device)) {}

  void begin() {
    before_ = c10::cuda::getCurrentCUDAStream(device_);
    c10::cuda::CUDAStream own = c10::cuda::getStreamFromPool(false, device_);
    own.synchronize();
    before_->synchronize(); // what was launched before must not be waited for inside
    c10::cuda::setCurrentCUDAStream(own);
    try {
      graph_.capture_begin();
    } catch (...) {
      c10::cuda::setCurrentCUDAStream(*before_);
      throw;
    }
  }

  // Also after a failure in between: then the capture is invalid, and this throws what CUDA says of it.
  void end() {
    try {
      graph_.capture_end();
    } catch (...) {
      c10::cuda::setCurrentCUDAStream(*before_);
      throw;
    }
    c10::cuda::setCurrentCUDAStream(*before_);
  }

  // On the current stream, after all that was launched there before.
  void replay() { graph_.replay(); }

 private:
  c10::DeviceIndex device_;
  at::cuda::CUDAGraph graph_;
  std::optional<c10::cuda::CUDAStream> before_;
};

} // namespace isoerg
