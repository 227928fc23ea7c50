// Winograd's minimal filtering F(4 x 4, 3 x 3) of one tile, and the products between its transforms: 36 multiplications
// give 16 values of a convolution with a 3 x 3 filter that take 144 otherwise (Winograd 1980; Lavin & Gray, CVPR 2016).
//
//   y  = A^T [ (G g G^T) * (B^T d B) ] A        d a 6 x 6 patch of the input, g the filter, y 4 x 4 values of the output
//   dg = G^T [ (A dy A^T) * (B^T d B) ] G       its adjoint in g, summed over tiles
//
// The interpolation points are 0, +-5/8, +-3/2 and infinity. With the textbook's 0, +-1, +-2 the error is four to five times
// that of direct summation in float32; with these it is about twice (on the choice: Barabasz et al., ACM TOMS 2020).
//
// Everything is float32 in registers, in vectors over channels; storage may be bfloat16. `Isa` is one instruction set.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "activation.h" // ISOERG_INLINE, bfloat16 storage

namespace isoerg {

// Vectors of 16 values, and blocks of rows x 2 vectors in registers: 16 accumulators of 32 registers with AVX-512.
struct Avx512 {
  static constexpr int kLanes = 16, kRows = 8;
  static constexpr bool kRounds = false; // has an instruction that rounds to bfloat16
  typedef float Vector __attribute__((vector_size(64), aligned(4), may_alias));
  typedef uint32_t Words __attribute__((vector_size(64), aligned(4), may_alias));
  typedef uint16_t Halves __attribute__((vector_size(32), aligned(2), may_alias));
};
struct Avx512Bfloat : Avx512 {
  static constexpr bool kRounds = true;
};
struct Avx2 {
  static constexpr int kLanes = 8, kRows = 4;
  static constexpr bool kRounds = false;
  typedef float Vector __attribute__((vector_size(32), aligned(4), may_alias));
  typedef uint32_t Words __attribute__((vector_size(32), aligned(4), may_alias));
  typedef uint16_t Halves __attribute__((vector_size(16), aligned(2), may_alias));
};

template <class Isa>
ISOERG_INLINE typename Isa::Vector loadLanes(const float* x) {
  return *reinterpret_cast<const typename Isa::Vector*>(x);
}
template <class Isa>
ISOERG_INLINE typename Isa::Vector loadLanes(const uint16_t* x) {
  auto words = __builtin_convertvector(*reinterpret_cast<const typename Isa::Halves*>(x), typename Isa::Words) << 16;
  return reinterpret_cast<typename Isa::Vector&>(words);
}
template <class Isa>
ISOERG_INLINE void storeLanes(typename Isa::Vector value, float* out) {
  *reinterpret_cast<typename Isa::Vector*>(out) = value;
}
template <class Isa>
ISOERG_INLINE void storeLanes(typename Isa::Vector value, uint16_t* out) { // to the nearest, ties to even; NaN stays NaN
#ifdef ISOERG_X86
  if constexpr (Isa::kRounds) {
    typename Isa::Halves halves;
    __asm__("vcvtneps2bf16 %1, %0" : "=v"(halves) : "v"(value)); // by its name: functions without the target are inlined here
    *reinterpret_cast<typename Isa::Halves*>(out) = halves;
    return;
  }
#endif
  typedef typename Isa::Words Words;
  Words bits = reinterpret_cast<Words&>(value);
  Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  Words magnitude = bits & 0x7fffffff;
  rounded = magnitude > 0x7f800000u ? Words{} + 0x7fc0u : rounded;
  *reinterpret_cast<typename Isa::Halves*>(out) = __builtin_convertvector(rounded, typename Isa::Halves);
}

constexpr int kPatch = 6, kTile = 4, kPoints = kPatch * kPatch;
constexpr float kA = 0.625f, kB = 1.5f; // the points; all products below are exact in float32
constexpr float kP = kA * kA, kQ = kB * kB, kPQ = kP * kQ, kSum = kP + kQ, kA3 = kP * kA, kB3 = kQ * kB;
// 1 / M'(x) at the points, for M(x) = x (x^2 - p) (x^2 - q).
constexpr float kAt0 = static_cast<float>(1 / (0.390625 * 2.25));
constexpr float kAtA = static_cast<float>(1 / (2 * 0.390625 * (0.390625 - 2.25)));
constexpr float kAtB = static_cast<float>(1 / (2 * 2.25 * (2.25 - 0.390625)));

// One dimension of each transform; `V` is a vector or a float.
template <class V>
ISOERG_INLINE void inputTransform(const V (&d)[6], V (&t)[6]) { // B^T d
  V evenA = d[4] - kQ * d[2], oddA = kA * (d[3] - kQ * d[1]);
  V evenB = d[4] - kP * d[2], oddB = kB * (d[3] - kP * d[1]);
  t[0] = kPQ * d[0] - kSum * d[2] + d[4];
  t[1] = evenA + oddA, t[2] = evenA - oddA;
  t[3] = evenB + oddB, t[4] = evenB - oddB;
  t[5] = kPQ * d[1] - kSum * d[3] + d[5];
}
template <class V>
ISOERG_INLINE void outputTransform(const V (&m)[6], V (&y)[4]) { // A^T m
  V sumA = m[1] + m[2], differenceA = m[1] - m[2], sumB = m[3] + m[4], differenceB = m[3] - m[4];
  y[0] = m[0] + sumA + sumB;
  y[1] = kA * differenceA + kB * differenceB;
  y[2] = kP * sumA + kQ * sumB;
  y[3] = kA3 * differenceA + kB3 * differenceB + m[5];
}
template <class V>
ISOERG_INLINE void gradientTransform(const V (&y)[4], V (&z)[6]) { // A dy
  V evenA = y[0] + kP * y[2], oddA = kA * y[1] + kA3 * y[3];
  V evenB = y[0] + kQ * y[2], oddB = kB * y[1] + kB3 * y[3];
  z[0] = y[0];
  z[1] = evenA + oddA, z[2] = evenA - oddA;
  z[3] = evenB + oddB, z[4] = evenB - oddB;
  z[5] = y[3];
}
template <class V>
ISOERG_INLINE void filterTransform(const V (&g)[3], V (&u)[6]) { // G g
  V evenA = kAtA * (g[0] + kP * g[2]), oddA = (kAtA * kA) * g[1];
  V evenB = kAtB * (g[0] + kQ * g[2]), oddB = (kAtB * kB) * g[1];
  u[0] = kAt0 * g[0];
  u[1] = evenA + oddA, u[2] = evenA - oddA;
  u[3] = evenB + oddB, u[4] = evenB - oddB;
  u[5] = g[2];
}
template <class V>
ISOERG_INLINE void filterGradientTransform(const V (&w)[6], V (&g)[3]) { // G^T w
  V sumA = kAtA * (w[1] + w[2]), sumB = kAtB * (w[3] + w[4]);
  g[0] = kAt0 * w[0] + sumA + sumB;
  g[1] = (kAtA * kA) * (w[1] - w[2]) + (kAtB * kB) * (w[3] - w[4]);
  g[2] = kP * sumA + kQ * sumB + w[5];
}

// Both dimensions: `transform` on the columns, then on the rows. Values come from take(y, x) and go to give(y, x, value), so
// that each is loaded and stored once.
template <int kFrom, int kTo, class V, class Take, class Transform, class Give>
ISOERG_INLINE void bothDimensions(Take take, Transform transform, Give give) {
  alignas(64) V columns[kTo][kFrom];
#pragma GCC unroll 6
  for (int x = 0; x < kFrom; x++) {
    V column[kFrom], result[kTo];
#pragma GCC unroll 6
    for (int y = 0; y < kFrom; y++) column[y] = take(y, x);
    transform(column, result);
#pragma GCC unroll 6
    for (int y = 0; y < kTo; y++) columns[y][x] = result[y];
  }
#pragma GCC unroll 6
  for (int y = 0; y < kTo; y++) {
    V row[kTo];
    transform(columns[y], row);
#pragma GCC unroll 6
    for (int x = 0; x < kTo; x++) give(y, x, row[x]);
  }
}

// Products are blocked by 32 columns, so that a block of `b` [depth][width] is contiguous and stays in the nearest cache.
constexpr size_t kColumns = 32;

// Where column `n` of row `k` stands in a matrix [depth][size] that is stored block of columns by block of columns.
ISOERG_INLINE size_t blockedIndex(size_t k, size_t n, size_t depth, size_t size) {
  size_t first = n / kColumns * kColumns;
  size_t width = size - first < kColumns ? size - first : kColumns;
  return first * depth + k * width + (n - first);
}

// c[r][v] (+)= sum_k a[r rowStep + k step] b[k][v], r < kRows, v < kVectors. Sums run over k in order, whatever the shape.
template <class Isa, int kVectors, bool kAdd>
ISOERG_INLINE void productBlock(
    const float* a, size_t rowStep, size_t step, const float* b, size_t bStep, size_t depth, float* c, size_t cStep) {
  typedef typename Isa::Vector Vector;
  constexpr int kRows = Isa::kRows;
  Vector sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) sum[r][v] = kAdd ? loadLanes<Isa>(c + r * cStep + v * Isa::kLanes) : Vector{};
  for (size_t k = 0; k < depth; k++) {
    Vector column[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) column[v] = loadLanes<Isa>(b + k * bStep + v * Isa::kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++) {
      float value = a[r * rowStep + k * step];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) sum[r][v] += value * column[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) storeLanes<Isa>(sum[r][v], c + r * cStep + v * Isa::kLanes);
}

// c [rows][size] (+)= a b, with b [depth][size] stored in blocks of columns. rows is a multiple of kRows, size of 16.
template <class Isa, bool kAdd>
ISOERG_INLINE void product(
    const float* a, size_t rowStep, size_t step, const float* b, size_t depth, float* c, size_t rows, size_t size) {
  for (size_t n = 0; n < size; n += kColumns) {
    const float* block = b + n * depth;
    size_t width = size - n < kColumns ? size - n : kColumns;
    for (size_t r = 0; r < rows; r += Isa::kRows) {
      for (size_t at = 0; at < width;) {
        float* out = c + r * size + n + at;
        if (width - at >= 2 * Isa::kLanes) {
          productBlock<Isa, 2, kAdd>(a + r * rowStep, rowStep, step, block + at, width, depth, out, size);
          at += 2 * Isa::kLanes;
        } else {
          productBlock<Isa, 1, kAdd>(a + r * rowStep, rowStep, step, block + at, width, depth, out, size);
          at += Isa::kLanes;
        }
      }
    }
  }
}

} // namespace isoerg
