// Convolutions with 3 x 3 filters and stride 1 by Winograd's minimal filtering, on the CPU: value, input gradient (the same
// with the filter turned round) and filter gradient, as functions of tensors. winograd_chunks.h has the loops, winograd_tile.h the
// mathematics.
//
// oneDNN's direct convolutions of libtorch 1.13 reach most of what the processor's multipliers can do, so the one way past
// them is to multiply less. A tile's values depend neither on the batch it came in nor on the number of threads.
#pragma once
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>

#include "winograd_chunks.h"

namespace isoerg {

inline bool winogradStorage(const at::Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

// weight [out,in,3,3] -> its 36 matrices [in][out] (flat, float32); turned round, for the input gradient: [out][in]. An
// undefined tensor where the processor or the shape doesn't suit.
inline at::Tensor winogradFilter(const at::Tensor& weight, bool turned) {
  if (processorLevel() == 0 || !winogradStorage(weight) || weight.dim() != 4 || weight.size(2) != 3 || weight.size(3) != 3 ||
      weight.size(0) % 16 || weight.size(1) % 16 || weight.numel() == 0)
    return {};
  const int64_t out = weight.size(0), in = weight.size(1);
  at::Tensor rows = weight.permute({2, 3, 1, 0}).to(at::kFloat).contiguous(); // [3][3][in][out]
  if (turned) rows = weight.permute({2, 3, 0, 1}).to(at::kFloat).contiguous(); // [3][3][out][in]
  const float* from = rows.data_ptr<float>();
  const int64_t depth = turned ? out : in, size = turned ? in : out;
  at::Tensor result = at::empty({kPoints, in * out}, at::TensorOptions(at::kFloat));
  float* to = result.data_ptr<float>();
  at::parallel_for(0, depth, 1 + 4096 / size, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; k++)
      for (int64_t n = 0; n < size; n += 16) {
        float* block = to + blockedIndex(static_cast<size_t>(k), static_cast<size_t>(n), static_cast<size_t>(depth), static_cast<size_t>(size));
        for (int64_t lane = 0; lane < 16; lane++) {
          bothDimensions<3, kPatch, float>(
              [&](int i, int j) { return from[((turned ? 8 - 3 * i - j : 3 * i + j) * depth + k) * size + n + lane]; },
              [](const float(&one)[3], float(&other)[6]) { filterTransform(one, other); },
              [&](int i, int j, float value) { block[(i * kPatch + j) * in * out + lane] = value; });
        }
      }
  });
  return result;
}

template <class Storage>
at::Tensor zeroPixel(int64_t channels) {
  return at::zeros({std::max<int64_t>(channels, 64)}, at::TensorOptions(sizeof(Storage) == 4 ? at::kFloat : at::kBFloat16));
}

inline c10::DataPtr winogradScratch(const WinogradShape& s) {
  return c10::GetCPUAllocator()->allocate(sizeof(float) * static_cast<size_t>(s.scratchSize()));
}

template <class Storage>
void convolveAll(const WinogradShape& s, const at::Tensor& x, const at::Tensor& filter, const float* bias, const at::Tensor& y) {
#ifdef ISOERG_HAS_WINOGRAD
  at::Tensor zeros = zeroPixel<Storage>(std::max(s.in, s.out));
  const auto* from = static_cast<const Storage*>(x.data_ptr());
  const auto* nothing = static_cast<const Storage*>(zeros.data_ptr());
  auto* to = static_cast<Storage*>(y.data_ptr());
  at::parallel_for(0, s.numChunks(), 1, [&](int64_t begin, int64_t end) {
    c10::DataPtr memory = winogradScratch(s);
    auto* scratch = static_cast<float*>(memory.get());
    const float* u = filter.data_ptr<float>();
    if constexpr (sizeof(Storage) == 4) {
      if (vectorLevel() == 2) convolveFloatAvx512(s, from, u, bias, nothing, scratch, begin, end, to);
      else convolveFloatAvx2(s, from, u, bias, nothing, scratch, begin, end, to);
    } else {
      if (vectorLevel() == 2 && roundsToBfloat()) convolveNativeBfloatAvx512(s, from, u, bias, nothing, scratch, begin, end, to);
      else if (vectorLevel() == 2) convolveBfloatAvx512(s, from, u, bias, nothing, scratch, begin, end, to);
      else convolveBfloatAvx2(s, from, u, bias, nothing, scratch, begin, end, to);
    }
  });
#endif
}

// x [B,H,W,in], filter of winogradFilter, bias [out] or undefined -> [B,H',W',out], or an undefined tensor where ATen's must do it.
inline at::Tensor winogradConvolution(const at::Tensor& x, const at::Tensor& filter, const at::Tensor& bias, int64_t out, int64_t padding) {
  if (vectorLevel() == 0 || !winogradStorage(x) || !x.is_contiguous() || x.dim() != 4 || padding < 0 || padding > 2) return {};
  WinogradShape s{x.size(0), x.size(1), x.size(2), x.size(1) + 2 * padding - 2, x.size(2) + 2 * padding - 2, x.size(3), out, padding};
  if (s.batch == 0 || !winogradPays(s.in, s.out, s.outHeight, s.outWidth) || filter.numel() != kPoints * s.in * s.out) return {};
  at::Tensor y = at::empty({s.batch, s.outHeight, s.outWidth, s.out}, x.options());
  at::Tensor shift = bias.defined() ? bias.to(at::kFloat).contiguous() : at::Tensor();
  const float* shiftValues = shift.defined() ? shift.data_ptr<float>() : nullptr;
  if (x.scalar_type() == at::kFloat) convolveAll<float>(s, x, filter, shiftValues, y);
  else convolveAll<uint16_t>(s, x, filter, shiftValues, y);
  return y;
}

template <class Storage>
void filterGradientAll(const WinogradShape& s, const at::Tensor& x, const at::Tensor& dy, const at::Tensor& sums, int64_t parts) {
#ifdef ISOERG_HAS_WINOGRAD
  at::Tensor zeros = zeroPixel<Storage>(std::max(s.in, s.out));
  const auto* from = static_cast<const Storage*>(x.data_ptr());
  const auto* gradient = static_cast<const Storage*>(dy.data_ptr());
  const auto* nothing = static_cast<const Storage*>(zeros.data_ptr());
  at::parallel_for(0, parts, 1, [&](int64_t firstPart, int64_t lastPart) {
    c10::DataPtr memory = winogradScratch(s);
    auto* scratch = static_cast<float*>(memory.get());
    for (int64_t part = firstPart; part < lastPart; part++) {
      float* sum = sums.data_ptr<float>() + part * kPoints * s.in * s.out;
      int64_t begin = s.numChunks() * part / parts, end = s.numChunks() * (part + 1) / parts;
      if constexpr (sizeof(Storage) == 4) {
        if (vectorLevel() == 2) filterGradientFloatAvx512(s, from, gradient, nothing, scratch, begin, end, sum);
        else filterGradientFloatAvx2(s, from, gradient, nothing, scratch, begin, end, sum);
      } else {
        if (vectorLevel() == 2) filterGradientBfloatAvx512(s, from, gradient, nothing, scratch, begin, end, sum);
        else filterGradientBfloatAvx2(s, from, gradient, nothing, scratch, begin, end, sum);
      }
    }
  });
#endif
}

// x [B,H,W,in], dy [B,H',W',out] of one type -> dL/dfilter [3,3,in,out] in float32, or an undefined tensor.
inline at::Tensor winogradFilterGradient(const at::Tensor& x, const at::Tensor& dy, int64_t padding) {
  if (vectorLevel() == 0 || !winogradStorage(x) || x.scalar_type() != dy.scalar_type() || !x.is_contiguous() || !dy.is_contiguous() || x.dim() != 4)
    return {};
  WinogradShape s{x.size(0), x.size(1), x.size(2), dy.size(1), dy.size(2), x.size(3), dy.size(3), padding};
  if (s.batch == 0 || s.outHeight != s.height + 2 * padding - 2 || s.outWidth != s.width + 2 * padding - 2 ||
      !winogradPays(s.in, s.out, s.outHeight, s.outWidth))
    return {};
  const int64_t parts = std::min<int64_t>(at::get_num_threads(), s.numChunks());
  at::Tensor sums = at::zeros({parts, kPoints, s.in * s.out}, at::TensorOptions(at::kFloat));
  if (x.scalar_type() == at::kFloat) filterGradientAll<float>(s, x, dy, sums, parts);
  else filterGradientAll<uint16_t>(s, x, dy, sums, parts);
  at::Tensor result = at::empty({3, 3, s.in, s.out}, at::TensorOptions(at::kFloat));
  const float* from = sums.data_ptr<float>();
  float* to = result.data_ptr<float>();
  const int64_t size = s.in * s.out;
  at::parallel_for(0, size, 8192, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      bothDimensions<kPatch, 3, float>(
          [&](int y, int x) {
            float sum = 0;
            for (int64_t part = 0; part < parts; part++) sum += from[(part * kPoints + y * kPatch + x) * size + i];
            return sum;
          },
          [](const float(&one)[6], float(&other)[3]) { filterGradientTransform(one, other); },
          [&](int y, int x, float value) { to[(y * 3 + x) * size + i] = value; });
    }
  });
  return result;
}

} // namespace isoerg
