// The input gradient of a convolution whose input is narrow: images of one or three channels, the first layer's case.
//
// oneDNN computes 16 channels where 3 are wanted (20 GF/s in float32 where wider layers reach 110 on the same core). Here
// each output pixel's gradient [cout] times the filter [cout, kh kw cin] gives its contribution to a patch of the input, a
// row of at most 32 floats in registers, which is added to the image. Sums are float32 whatever the storage.
#pragma once
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <vector>

#include "activation.h" // bfloat16 storage

namespace isoerg {

struct NarrowGeometry {
  int64_t height, width, channels;          // of the input
  int64_t outHeight, outWidth, outChannels; // of dy
  int64_t kernelHeight, kernelWidth, stride, padding;

  int64_t rowLength() const { return kernelWidth * channels; }
  int64_t patchLength() const { return kernelHeight * rowLength(); }
  // The image as far as the windows reach.
  int64_t paddedHeight() const { return (outHeight - 1) * stride + kernelHeight; }
  int64_t paddedWidth() const { return (outWidth - 1) * stride + kernelWidth; }
};

constexpr int kPatchRow = 32;

ISOERG_INLINE float valueAt(const float* x, int64_t i) { return x[i]; }
ISOERG_INLINE float valueAt(const uint16_t* x, int64_t i) { return loadValue(x[i]); }
ISOERG_INLINE void setValue(float* x, int64_t i, float value) { x[i] = value; }
ISOERG_INLINE void setValue(uint16_t* x, int64_t i, float value) { storeValue(value, x[i]); }

typedef float PatchVector __attribute__((vector_size(64), aligned(4), may_alias));

// Patches of four neighbouring pixels: each load of the filter serves all four. `filter` is [cout][32].
template <typename Storage>
ISOERG_INLINE void patchesOf(const Storage* dy, const float* filter, int64_t outChannels, int64_t numPixels, float (*patches)[kPatchRow]) {
  const Storage* pixel[4];
  for (int p = 0; p < 4; p++) pixel[p] = dy + (p < numPixels ? p : 0) * outChannels;
  PatchVector a0 = {}, a1 = {}, b0 = {}, b1 = {}, c0 = {}, c1 = {}, d0 = {}, d1 = {};
  for (int64_t channel = 0; channel < outChannels; channel++) {
    PatchVector low = *reinterpret_cast<const PatchVector*>(filter + channel * kPatchRow);
    PatchVector high = *reinterpret_cast<const PatchVector*>(filter + channel * kPatchRow + 16);
    float a = valueAt(pixel[0], channel), b = valueAt(pixel[1], channel), c = valueAt(pixel[2], channel), d = valueAt(pixel[3], channel);
    a0 += a * low, a1 += a * high;
    b0 += b * low, b1 += b * high;
    c0 += c * low, c1 += c * high;
    d0 += d * low, d1 += d * high;
  }
  *reinterpret_cast<PatchVector*>(patches[0]) = a0, *reinterpret_cast<PatchVector*>(patches[0] + 16) = a1;
  *reinterpret_cast<PatchVector*>(patches[1]) = b0, *reinterpret_cast<PatchVector*>(patches[1] + 16) = b1;
  *reinterpret_cast<PatchVector*>(patches[2]) = c0, *reinterpret_cast<PatchVector*>(patches[2] + 16) = c1;
  *reinterpret_cast<PatchVector*>(patches[3]) = d0, *reinterpret_cast<PatchVector*>(patches[3] + 16) = d1;
}

// One image; `image` is scratch of [paddedHeight][paddedWidth][channels].
template <typename Storage>
ISOERG_INLINE void narrowImage(const NarrowGeometry& g, const Storage* dy, const float* filter, float* image, Storage* dx) {
  const int64_t paddedWidth = g.paddedWidth(), paddedHeight = g.paddedHeight(), rowLength = g.rowLength();
  memset(image, 0, sizeof(float) * static_cast<size_t>(paddedHeight * paddedWidth * g.channels));
  float patches[4][kPatchRow];
  for (int64_t y = 0; y < g.outHeight; y++) {
    for (int64_t x = 0; x < g.outWidth; x += 4) {
      int64_t numPixels = g.outWidth - x < 4 ? g.outWidth - x : 4;
      patchesOf(dy + (y * g.outWidth + x) * g.outChannels, filter, g.outChannels, numPixels, patches);
      for (int64_t p = 0; p < numPixels; p++) {
        for (int64_t ky = 0; ky < g.kernelHeight; ky++) {
          float* row = image + ((y * g.stride + ky) * paddedWidth + (x + p) * g.stride) * g.channels;
          const float* patch = patches[p] + ky * rowLength;
          if (rowLength == 9) // 3 x 3 over three channels: a loop of known length
            for (int i = 0; i < 9; i++) row[i] += patch[i];
          else
            for (int64_t i = 0; i < rowLength; i++) row[i] += patch[i];
        }
      }
    }
  }
  const int64_t length = g.width * g.channels;
  // Columns beyond the last window's end have no gradient.
  int64_t reached = (paddedWidth - g.padding) * g.channels;
  if (reached > length) reached = length;
  for (int64_t y = 0; y < g.height; y++) {
    Storage* row = dx + y * length;
    int64_t end = y + g.padding < paddedHeight ? reached : 0;
    const float* from = image + ((y + g.padding) * paddedWidth + g.padding) * g.channels;
    for (int64_t i = 0; i < end; i++) setValue(row, i, from[i]);
    for (int64_t i = end > 0 ? end : 0; i < length; i++) setValue(row, i, 0.0f);
  }
}

ISOERG_CLONES void narrowImageFloat(const NarrowGeometry& g, const float* dy, const float* filter, float* image, float* dx) {
  narrowImage(g, dy, filter, image, dx);
}
ISOERG_CLONES void narrowImageBfloat(const NarrowGeometry& g, const uint16_t* dy, const float* filter, float* image, uint16_t* dx) {
  narrowImage(g, dy, filter, image, dx);
}

// dy [B,OH,OW,O] and weight [O,C,kh,kw] (channels_last storage, that is [O,kh,kw,C]) -> dx [B,H,W,C], or an undefined tensor
// where this does not apply: another device, a wide input, a large filter, storage in another order.
inline at::Tensor narrowInputGradient(
    const at::Tensor& dy, const at::Tensor& weight, int64_t height, int64_t width, int64_t stride, int64_t padding) {
  NarrowGeometry g{height, width, weight.size(1), dy.size(1), dy.size(2), dy.size(3), weight.size(2), weight.size(3), stride, padding};
  bool isFloat = weight.scalar_type() == at::kFloat, isBfloat = weight.scalar_type() == at::kBFloat16;
  if (!(dy.device().is_cpu() && (isFloat || isBfloat) && dy.scalar_type() == weight.scalar_type() && g.channels <= 4 &&
        g.patchLength() <= kPatchRow && dy.is_contiguous() && g.paddedHeight() > g.padding && g.paddedWidth() > g.padding))
    return {};
  at::Tensor rows = weight.permute({0, 2, 3, 1}).to(at::kFloat).contiguous();
  std::vector<float> filter(static_cast<size_t>(g.outChannels) * kPatchRow, 0.0f);
  for (int64_t o = 0; o < g.outChannels; o++)
    memcpy(filter.data() + o * kPatchRow, rows.data_ptr<float>() + o * g.patchLength(), sizeof(float) * static_cast<size_t>(g.patchLength()));
  at::Tensor dx = at::empty({dy.size(0), height, width, g.channels}, weight.options());
  const int64_t dyStep = g.outHeight * g.outWidth * g.outChannels, dxStep = height * width * g.channels;
  at::parallel_for(0, dy.size(0), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> image(static_cast<size_t>(g.paddedHeight() * g.paddedWidth() * g.channels));
    for (int64_t b = begin; b < end; b++) {
      if (isFloat)
        narrowImageFloat(g, dy.data_ptr<float>() + b * dyStep, filter.data(), image.data(), dx.data_ptr<float>() + b * dxStep);
      else
        narrowImageBfloat(
            g, static_cast<const uint16_t*>(dy.data_ptr()) + b * dyStep, filter.data(), image.data(), static_cast<uint16_t*>(dx.data_ptr()) + b * dxStep);
    }
  });
  return dx;
}

} // namespace isoerg
