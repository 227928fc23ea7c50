// The bridge's entries to its own kernels: what ATen lacks or does slowly. Each answers 0 where ATen's operators must be taken.
#pragma once
#include <ATen/Parallel.h>

#include "activation.h"
#include "call.h"
#include "group_norm.h"
#include "narrow_gradient.h"
#include "philox.h"
#include "winograd.h"

namespace isoerg {

// noise(kind, key0, key1, step, purposeAndInner, positions: Int32Array, device): rows of uniform (0) or normal (1) values;
// the tensor's shape stands in the shared array, its first size the number of positions.
static napi_value noise(const Call& call) {
  bool normal = call.integer(0) == 1;
  PhiloxKey key{call.word(1), call.word(2), call.word(3), call.word(4)};
  Array positions = arrayOf(call, 5);
  TORCH_CHECK(positions.type == napi_int32_array, "positions are an Int32Array");
  std::vector<int64_t> shape = shapeFromCells(call.state);
  int device = call.integer(6);
#ifdef ISOERG_CUDA_NOISE
  if (device >= 0) {
    TORCH_CHECK(!shape.empty() && shape[0] == static_cast<int64_t>(positions.length), "one row for each position");
    const auto* rows = static_cast<const int32_t*>(positions.data);
    return writeAll(call, {noiseOnDevice(key, normal, rows, static_cast<int64_t>(positions.length), shape, device)});
  }
#endif
  at::Tensor tensor = at::empty(shape, at::TensorOptions(at::kFloat).pinned_memory(device >= 0));
  TORCH_CHECK(!shape.empty() && shape[0] == static_cast<int64_t>(positions.length), "one row for each position");
  const auto* position = static_cast<const int32_t*>(positions.data);
  size_t rowSize = positions.length ? static_cast<size_t>(tensor.numel()) / positions.length : 0;
  float* out = tensor.data_ptr<float>();
  at::parallel_for(0, static_cast<int64_t>(positions.length), 1 + 16384 / static_cast<int64_t>(rowSize + 1), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      auto* fill = normal ? &normalRow : &uniformRow;
      fill(key, static_cast<uint32_t>(position[row]), out + static_cast<size_t>(row) * rowSize, rowSize);
    }
  });
  ResultWriter writer = call.results();
  writer.write(onDevice(tensor, device));
  return call.make(writer.count());
}

// activation(kind, x, dy or 0, parameter) -> 1 with its result in the shared array, or 0 where ATen must do it.
static napi_value activationOf(const Call& call) {
  const at::Tensor& x = call.state.tensors.at(call.number(1));
  double gradient = call.number(2);
  at::Tensor dy = gradient == 0 ? at::Tensor() : call.state.tensors.at(gradient);
  at::Tensor result = activation(call.integer(0), x, dy, static_cast<float>(call.number(3)));
  return writeIfDefined(call, result);
}

// narrowInputGradient(dy, weight, height, width, stride, padding) -> 1 with its result in the shared array, or 0 where ATen must do it.
static napi_value narrowInputGradientOf(const Call& call) {
  const Tensors& tensors = call.state.tensors;
  at::Tensor result = narrowInputGradient(
      tensors.at(call.number(0)), tensors.at(call.number(1)), call.integer(2), call.integer(3), call.integer(4), call.integer(5));
  return writeIfDefined(call, result);
}

// groupNorm(x, gamma, beta, groups, epsilon) -> 3 with y, mean and rstd in the shared array, or 0 where ATen must do it.
static napi_value groupNormOf(const Call& call) {
  const Tensors& tensors = call.state.tensors;
  return writeAll(
      call,
      groupNorm(tensors.at(call.number(0)), tensors.at(call.number(1)), tensors.at(call.number(2)), call.integer(3), static_cast<float>(call.number(4))));
}

// groupNormGrad(dy, x, mean, rstd, gamma, groups) -> 3 with dx, dgamma and dbeta in the shared array, or 0 where ATen must do it.
static napi_value groupNormGradOf(const Call& call) {
  const Tensors& tensors = call.state.tensors;
  return writeAll(
      call,
      groupNormGrad(
          tensors.at(call.number(0)), tensors.at(call.number(1)), tensors.at(call.number(2)), tensors.at(call.number(3)), tensors.at(call.number(4)),
          call.integer(5)));
}

// winogradFilter(weight, turned) -> 1 with the transformed filter in the shared array, or 0 where ATen's convolution is taken.
static napi_value winogradFilterOf(const Call& call) {
  return writeIfDefined(call, winogradFilter(call.state.tensors.at(call.number(0)), call.integer(1) != 0));
}

// winogradConvolution(x, filter, bias or 0, output channels, padding) -> 1 with y in the shared array, or 0 where ATen must do it.
static napi_value winogradConvolutionOf(const Call& call) {
  const Tensors& tensors = call.state.tensors;
  double bias = call.number(2);
  at::Tensor shift = bias == 0 ? at::Tensor() : tensors.at(bias);
  return writeIfDefined(call, winogradConvolution(tensors.at(call.number(0)), tensors.at(call.number(1)), shift, call.integer(3), call.integer(4)));
}

// winogradFilterGradient(x, dy, padding) -> 1 with dL/dfilter in the shared array, or 0 where ATen must do it.
static napi_value winogradFilterGradientOf(const Call& call) {
  const Tensors& tensors = call.state.tensors;
  return writeIfDefined(call, winogradFilterGradient(tensors.at(call.number(0)), tensors.at(call.number(1)), call.integer(2)));
}

// limitWinograd(level): 2 AVX-512 where the processor has it, 1 AVX2 at most, 0 ATen's convolutions; for tests and comparisons.
static napi_value limitWinograd(const Call& call) {
  levelLimit() = call.integer(0);
  return nullptr;
}

} // namespace isoerg
