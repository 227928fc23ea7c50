// Group normalisation (Wu & He 2018) of images [B,H,W,C] on the CPU, where channels are innermost.
//
// ATen's operator of libtorch 1.13 takes half of a small network's pass on such images, and its backward only plain NCHW
// storage. Here a pixel's channels are one vector: each pass over an image is a loop over pixels of loops over channels.
// Moments are taken in two passes (no cancellation), sums over pixels are float32, over a group's channels float64.
//
//   y  = gamma (x - mean) rstd + beta
//   dx = rstd (gamma dy - mean_n(gamma dy) - xhat mean_n(gamma dy xhat)),  xhat = (x - mean) rstd, n over a group's values
#pragma once
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <math.h>

#include <vector>

#include "activation.h" // bfloat16 storage

namespace isoerg {

struct NormShape {
  int64_t batch, pixels, channels, groups;
  int64_t channelsPerGroup() const { return channels / groups; }
};

// Channel by channel: what a pass over the pixels adds up, and the factors of the next pass.
struct NormScratch {
  std::vector<float> row, otherRow, out, first, second, third, fourth;
  explicit NormScratch(int64_t channels) {
    for (auto* one : {&row, &otherRow, &out, &first, &second, &third, &fourth}) one->resize(static_cast<size_t>(channels));
  }
};

// A pixel's channels as float32: in place, or converted into `buffer`.
ISOERG_INLINE const float* floatRow(const float* x, float*, int64_t) { return x; }
ISOERG_INLINE const float* floatRow(const uint16_t* x, float* __restrict buffer, int64_t channels) {
  for (int64_t c = 0; c < channels; c++) buffer[c] = loadValue(x[c]);
  return buffer;
}
ISOERG_INLINE void writeRow(const float* from, float* to, int64_t channels) { memcpy(to, from, sizeof(float) * static_cast<size_t>(channels)); }
ISOERG_INLINE void writeRow(const float* __restrict from, uint16_t* to, int64_t channels) {
  for (int64_t c = 0; c < channels; c++) storeValue(from[c], to[c]);
}

template <typename Storage>
ISOERG_INLINE void normImage(
    const NormShape& shape, const Storage* x, const float* gamma, const float* beta, float epsilon, NormScratch& scratch, Storage* y, float* mean, float* rstd) {
  const int64_t channels = shape.channels, perGroup = shape.channelsPerGroup();
  const double count = static_cast<double>(shape.pixels * perGroup);
  float* __restrict sums = scratch.first.data();
  float* __restrict centre = scratch.second.data();
  float* __restrict out = scratch.out.data();
  memset(sums, 0, sizeof(float) * static_cast<size_t>(channels));
  for (int64_t p = 0; p < shape.pixels; p++) {
    const float* __restrict row = floatRow(x + p * channels, scratch.row.data(), channels);
    for (int64_t c = 0; c < channels; c++) sums[c] += row[c];
  }
  for (int64_t g = 0; g < shape.groups; g++) {
    double sum = 0;
    for (int64_t c = g * perGroup; c < (g + 1) * perGroup; c++) sum += sums[c];
    mean[g] = static_cast<float>(sum / count);
    for (int64_t c = g * perGroup; c < (g + 1) * perGroup; c++) centre[c] = mean[g];
  }
  memset(sums, 0, sizeof(float) * static_cast<size_t>(channels));
  for (int64_t p = 0; p < shape.pixels; p++) {
    const float* __restrict row = floatRow(x + p * channels, scratch.row.data(), channels);
    for (int64_t c = 0; c < channels; c++) sums[c] += (row[c] - centre[c]) * (row[c] - centre[c]);
  }
  float* __restrict scale = sums;
  for (int64_t g = 0; g < shape.groups; g++) {
    double sum = 0;
    for (int64_t c = g * perGroup; c < (g + 1) * perGroup; c++) sum += sums[c];
    rstd[g] = static_cast<float>(1.0 / sqrt(sum / count + epsilon));
    for (int64_t c = g * perGroup; c < (g + 1) * perGroup; c++) scale[c] = rstd[g] * gamma[c];
  }
  for (int64_t p = 0; p < shape.pixels; p++) {
    const float* __restrict row = floatRow(x + p * channels, scratch.row.data(), channels);
    for (int64_t c = 0; c < channels; c++) out[c] = (row[c] - centre[c]) * scale[c] + beta[c];
    writeRow(out, y + p * channels, channels);
  }
}

// dgamma and dbeta are this image's share [C].
template <typename Storage>
ISOERG_INLINE void normGradImage(
    const NormShape& shape, const Storage* dy, const Storage* x, const float* mean, const float* rstd, const float* gamma,
    NormScratch& scratch, Storage* dx, float* __restrict dgamma, float* __restrict dbeta) {
  const int64_t channels = shape.channels, perGroup = shape.channelsPerGroup();
  const double count = static_cast<double>(shape.pixels * perGroup);
  float* __restrict centre = scratch.first.data();
  float* __restrict scale = scratch.second.data();
  float* __restrict slope = scratch.third.data();
  float* __restrict offset = scratch.fourth.data();
  float* __restrict out = scratch.out.data();
  for (int64_t g = 0; g < shape.groups; g++)
    for (int64_t c = g * perGroup; c < (g + 1) * perGroup; c++) centre[c] = mean[g];
  memset(dgamma, 0, sizeof(float) * static_cast<size_t>(channels));
  memset(dbeta, 0, sizeof(float) * static_cast<size_t>(channels));
  for (int64_t p = 0; p < shape.pixels; p++) {
    const float* __restrict row = floatRow(x + p * channels, scratch.row.data(), channels);
    const float* __restrict gradient = floatRow(dy + p * channels, scratch.otherRow.data(), channels);
    for (int64_t c = 0; c < channels; c++) {
      dbeta[c] += gradient[c];
      dgamma[c] += gradient[c] * (row[c] - centre[c]);
    }
  }
  // dx = scale dy + slope (x - centre) + offset
  for (int64_t g = 0; g < shape.groups; g++) {
    double sum = 0, product = 0;
    for (int64_t c = g * perGroup; c < (g + 1) * perGroup; c++) {
      sum += static_cast<double>(gamma[c]) * dbeta[c];
      product += static_cast<double>(gamma[c]) * dgamma[c];
    }
    float inverse = rstd[g];
    float ofGroup = static_cast<float>(-product / count * inverse * inverse * inverse);
    float constant = static_cast<float>(-sum / count * inverse);
    for (int64_t c = g * perGroup; c < (g + 1) * perGroup; c++) {
      scale[c] = inverse * gamma[c];
      slope[c] = ofGroup;
      offset[c] = constant;
      dgamma[c] *= inverse;
    }
  }
  for (int64_t p = 0; p < shape.pixels; p++) {
    const float* __restrict row = floatRow(x + p * channels, scratch.row.data(), channels);
    const float* __restrict gradient = floatRow(dy + p * channels, scratch.otherRow.data(), channels);
    for (int64_t c = 0; c < channels; c++) out[c] = scale[c] * gradient[c] + slope[c] * (row[c] - centre[c]) + offset[c];
    writeRow(out, dx + p * channels, channels);
  }
}

// target_clones does not work on templates, so each pair has a name.
#define ISOERG_NORM(Storage, Name)                                                                                             \
  ISOERG_CLONES void normImage##Name(                                                                                          \
      const NormShape& shape, const Storage* x, const float* gamma, const float* beta, float epsilon, NormScratch& scratch,    \
      Storage* y, float* mean, float* rstd) {                                                                                  \
    normImage(shape, x, gamma, beta, epsilon, scratch, y, mean, rstd);                                                         \
  }                                                                                                                            \
  ISOERG_CLONES void normGradImage##Name(                                                                                      \
      const NormShape& shape, const Storage* dy, const Storage* x, const float* mean, const float* rstd, const float* gamma,   \
      NormScratch& scratch, Storage* dx, float* dgamma, float* dbeta) {                                                        \
    normGradImage(shape, dy, x, mean, rstd, gamma, scratch, dx, dgamma, dbeta);                                                \
  }
ISOERG_NORM(float, Float)
ISOERG_NORM(uint16_t, Bfloat)
#undef ISOERG_NORM

inline bool normApplies(const at::Tensor& x, const at::Tensor& gamma) {
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) && x.is_contiguous() &&
      gamma.scalar_type() == at::kFloat && gamma.is_contiguous() && x.dim() == 4;
}

inline NormShape normShape(const at::Tensor& x, int64_t groups) {
  return {x.size(0), x.size(1) * x.size(2), x.size(3), groups};
}

// -> y, mean [B,G], rstd [B,G]; nothing where ATen must do it.
inline std::vector<at::Tensor> groupNorm(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta, int64_t groups, float epsilon) {
  if (!normApplies(x, gamma) || !normApplies(x, beta)) return {};
  NormShape shape = normShape(x, groups);
  at::Tensor y = at::empty_like(x);
  at::Tensor mean = at::empty({shape.batch, groups}, gamma.options()), rstd = at::empty_like(mean);
  const int64_t step = shape.pixels * shape.channels;
  at::parallel_for(0, shape.batch, 1, [&](int64_t begin, int64_t end) {
    NormScratch scratch(shape.channels);
    for (int64_t b = begin; b < end; b++) {
      float *m = mean.data_ptr<float>() + b * groups, *r = rstd.data_ptr<float>() + b * groups;
      const float *gain = gamma.data_ptr<float>(), *shift = beta.data_ptr<float>();
      if (x.scalar_type() == at::kFloat)
        normImageFloat(shape, x.data_ptr<float>() + b * step, gain, shift, epsilon, scratch, y.data_ptr<float>() + b * step, m, r);
      else
        normImageBfloat(
            shape, static_cast<const uint16_t*>(x.data_ptr()) + b * step, gain, shift, epsilon, scratch, static_cast<uint16_t*>(y.data_ptr()) + b * step, m, r);
    }
  });
  return {y, mean, rstd};
}

// -> dx, dgamma [C], dbeta [C]; nothing where ATen must do it. Images' shares are added in their order.
inline std::vector<at::Tensor> groupNormGrad(
    const at::Tensor& dy, const at::Tensor& x, const at::Tensor& mean, const at::Tensor& rstd, const at::Tensor& gamma, int64_t groups) {
  if (!normApplies(x, gamma) || !dy.is_contiguous() || dy.scalar_type() != x.scalar_type() || !mean.is_contiguous() || !rstd.is_contiguous()) return {};
  NormShape shape = normShape(x, groups);
  at::Tensor dx = at::empty_like(x);
  at::Tensor dgamma = at::empty({shape.batch, shape.channels}, gamma.options()), dbeta = at::empty_like(dgamma);
  const int64_t step = shape.pixels * shape.channels;
  at::parallel_for(0, shape.batch, 1, [&](int64_t begin, int64_t end) {
    NormScratch scratch(shape.channels);
    for (int64_t b = begin; b < end; b++) {
      const float *m = mean.data_ptr<float>() + b * groups, *r = rstd.data_ptr<float>() + b * groups;
      float *ofGamma = dgamma.data_ptr<float>() + b * shape.channels, *ofBeta = dbeta.data_ptr<float>() + b * shape.channels;
      if (x.scalar_type() == at::kFloat)
        normGradImageFloat(
            shape, dy.data_ptr<float>() + b * step, x.data_ptr<float>() + b * step, m, r, gamma.data_ptr<float>(), scratch, dx.data_ptr<float>() + b * step,
            ofGamma, ofBeta);
      else
        normGradImageBfloat(
            shape, static_cast<const uint16_t*>(dy.data_ptr()) + b * step, static_cast<const uint16_t*>(x.data_ptr()) + b * step, m, r,
            gamma.data_ptr<float>(), scratch, static_cast<uint16_t*>(dx.data_ptr()) + b * step, ofGamma, ofBeta);
    }
  });
  return {dx, dgamma.sum(0), dbeta.sum(0)};
}

} // namespace isoerg
