// Smooth activations and their derivatives on the CPU, in float32 and bfloat16 storage, computed in float32.
//
// ATen's own cost as much as the convolutions around them: 1.9 ns a value for silu and 3.7 for its derivative in bfloat16
// on libtorch 1.13, where these take .5 and .6. Written for the compiler's vectoriser like philox.h: branch-free loops,
// one copy for each instruction set.
#pragma once
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <stdint.h>
#include <string.h>

#include "philox.h" // ISOERG_CLONES
#include "processor.h"
#include "silu_avx512.h"

#define ISOERG_INLINE static inline __attribute__((always_inline))

namespace isoerg {

ISOERG_INLINE float loadValue(uint16_t x) { // bfloat16 is the upper half of a float
  uint32_t bits = static_cast<uint32_t>(x) << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

ISOERG_INLINE void storeValue(float x, uint16_t& out) { // to the nearest, ties to even; NaN stays NaN
  uint32_t bits;
  memcpy(&bits, &x, 4);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  out = static_cast<uint16_t>(x == x ? rounded : 0x7fc0);
}

// exp within 2 units in the last place: 2^n by the exponent's bits, the rest by a polynomial on [-ln 2 / 2, ln 2 / 2].
ISOERG_INLINE float expOf(float x) {
  x = x > 88.0f ? 88.0f : x;
  x = x < -87.0f ? -87.0f : x;
  float shifted = x * 1.44269504088896341f + 12582912.0f; // adds 1.5 * 2^23: rounds to a whole number in the low bits
  float n = shifted - 12582912.0f;
  float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  uint32_t bits;
  memcpy(&bits, &shifted, 4);
  bits = (bits + 127) << 23;
  float power;
  memcpy(&power, &bits, 4);
  return p * power;
}

ISOERG_INLINE float sigmoidOf(float x) { return 1.0f / (1.0f + expOf(-x)); }

// log(1 + u) for u in [0, 1]: 2 artanh(u / (2 + u)), whose series converges fast there.
ISOERG_INLINE float log1pOf(float u) {
  float s = u / (2.0f + u);
  float z = s * s;
  float p = 1.0f / 17;
  p = p * z + 1.0f / 15;
  p = p * z + 1.0f / 13;
  p = p * z + 1.0f / 11;
  p = p * z + 1.0f / 9;
  p = p * z + 1.0f / 7;
  p = p * z + 1.0f / 5;
  p = p * z + 1.0f / 3;
  return 2.0f * s * (p * z + 1.0f);
}

struct Silu {
  ISOERG_INLINE float value(float x, float) { return x * sigmoidOf(x); }
  ISOERG_INLINE float slope(float x, float) {
    float s = sigmoidOf(x);
    return s * (1.0f + x * (1.0f - s));
  }
};

struct Softplus { // (1/a) log(1 + exp(a x)) = max(x, 0) + (1/a) log1p(exp(-a |x|))
  ISOERG_INLINE float value(float x, float a) {
    float z = a * x;
    float magnitude = z < 0.0f ? -z : z;
    float positive = z < 0.0f ? 0.0f : z;
    return (positive + log1pOf(expOf(-magnitude))) / a;
  }
  ISOERG_INLINE float slope(float x, float a) { return sigmoidOf(a * x); }
};

template <typename Function>
ISOERG_INLINE void applyForward(const float* x, float* y, size_t size, float parameter) {
  for (size_t i = 0; i < size; i++) y[i] = Function::value(x[i], parameter);
}

template <typename Function>
ISOERG_INLINE void applyBackward(const float* x, const float* dy, float* dx, size_t size, float parameter) {
  for (size_t i = 0; i < size; i++) dx[i] = dy[i] * Function::slope(x[i], parameter);
}

// bfloat16 goes in blocks through float32 buffers: loops of one width each vectorise fully, a mixed one does not.
constexpr size_t kBlock = 256;

ISOERG_INLINE void loadBlock(const uint16_t* from, float* __restrict to, size_t size) {
  for (size_t i = 0; i < size; i++) to[i] = loadValue(from[i]);
}

ISOERG_INLINE void storeBlock(const float* __restrict from, uint16_t* to, size_t size) {
  for (size_t i = 0; i < size; i++) storeValue(from[i], to[i]);
}

template <typename Function>
ISOERG_INLINE void applyForward(const uint16_t* x, uint16_t* y, size_t size, float parameter) {
  float block[kBlock];
  for (size_t at = 0; at < size; at += kBlock) {
    size_t length = size - at < kBlock ? size - at : kBlock;
    loadBlock(x + at, block, length);
    for (size_t i = 0; i < length; i++) block[i] = Function::value(block[i], parameter);
    storeBlock(block, y + at, length);
  }
}

template <typename Function>
ISOERG_INLINE void applyBackward(const uint16_t* x, const uint16_t* dy, uint16_t* dx, size_t size, float parameter) {
  float block[kBlock], gradient[kBlock];
  for (size_t at = 0; at < size; at += kBlock) {
    size_t length = size - at < kBlock ? size - at : kBlock;
    loadBlock(x + at, block, length);
    loadBlock(dy + at, gradient, length);
    for (size_t i = 0; i < length; i++) gradient[i] *= Function::slope(block[i], parameter);
    storeBlock(gradient, dx + at, length);
  }
}

// target_clones does not work on templates, so each pair has a name.
#define ISOERG_ACTIVATION(Function, Storage, Name)                                                                            \
  ISOERG_CLONES void forward##Name(const Storage* x, Storage* y, size_t size, float parameter) {                              \
    applyForward<Function>(x, y, size, parameter);                                                                            \
  }                                                                                                                           \
  ISOERG_CLONES void backward##Name(const Storage* x, const Storage* dy, Storage* dx, size_t size, float parameter) {         \
    applyBackward<Function>(x, dy, dx, size, parameter);                                                                      \
  }
ISOERG_ACTIVATION(Silu, float, SiluFloat)
ISOERG_ACTIVATION(Silu, uint16_t, SiluBfloat)
ISOERG_ACTIVATION(Softplus, float, SoftplusFloat)
ISOERG_ACTIVATION(Softplus, uint16_t, SoftplusBfloat)
#undef ISOERG_ACTIVATION

template <typename Storage>
struct ActivationFunctions {
  void (*forward)(const Storage*, Storage*, size_t, float);
  void (*backward)(const Storage*, const Storage*, Storage*, size_t, float);
};

template <typename Storage>
at::Tensor applyActivation(
    const ActivationFunctions<Storage>& functions, const at::Tensor& x, const at::Tensor& dy, float parameter) {
  at::Tensor result = at::empty_like(x);
  const auto* input = static_cast<const Storage*>(x.data_ptr());
  const auto* gradient = dy.defined() ? static_cast<const Storage*>(dy.data_ptr()) : nullptr;
  auto* output = static_cast<Storage*>(result.data_ptr());
  at::parallel_for(0, x.numel(), 32768, [&](int64_t begin, int64_t end) {
    size_t size = static_cast<size_t>(end - begin);
    if (gradient) functions.backward(input + begin, gradient + begin, output + begin, size, parameter);
    else functions.forward(input + begin, output + begin, size, parameter);
  });
  return result;
}

inline ActivationFunctions<float> siluOf(float) {
#ifdef ISOERG_X86
  if (vectorLevel() == 2) return {siluForwardFloatAvx512, siluBackwardFloatAvx512};
#endif
  return {forwardSiluFloat, backwardSiluFloat};
}
inline ActivationFunctions<uint16_t> siluOf(uint16_t) {
#ifdef ISOERG_X86
  if (vectorLevel() == 2 && roundsToBfloat()) return {siluForwardNativeBfloatAvx512, siluBackwardNativeBfloatAvx512};
  if (vectorLevel() == 2) return {siluForwardBfloatAvx512, siluBackwardBfloatAvx512};
#endif
  return {forwardSiluBfloat, backwardSiluBfloat};
}

// kind 0 silu, 1 softplus. With dy its product with the derivative at x, else the value. An undefined tensor where these
// loops don't apply (another device, another type, storage with gaps or in another order): then ATen's operators do.
inline at::Tensor activation(int kind, const at::Tensor& x, const at::Tensor& dy, float parameter) {
  bool fits = x.device().is_cpu() && x.is_non_overlapping_and_dense();
  if (dy.defined()) fits = fits && dy.scalar_type() == x.scalar_type() && dy.sizes() == x.sizes() && dy.strides() == x.strides();
  if (!fits) return {};
  if (x.scalar_type() == at::kFloat) {
    ActivationFunctions<float> functions = kind == 0 ? siluOf(0.0f) : ActivationFunctions<float>{forwardSoftplusFloat, backwardSoftplusFloat};
    return applyActivation(functions, x, dy, parameter);
  }
  if (x.scalar_type() == at::kBFloat16) {
    ActivationFunctions<uint16_t> functions =
        kind == 0 ? siluOf(uint16_t(0)) : ActivationFunctions<uint16_t>{forwardSoftplusBfloat, backwardSoftplusBfloat};
    return applyActivation(functions, x, dy, parameter);
  }
  return {};
}

} // namespace isoerg
