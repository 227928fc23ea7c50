// What the processor's and the GPU's noise share, value by value: the cipher's rounds and the two transforms of its words. Plain
// C++ that nvcc compiles too; layout of counters and streams as in src/engine/random/philox.ts.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define ISOERG_EVERYWHERE static __host__ __device__ __forceinline__
#else
#define ISOERG_EVERYWHERE static inline __attribute__((always_inline))
#endif

namespace isoerg {

struct PhiloxKey {
  uint32_t key0, key1; // low and high half of the seed
  uint32_t step;
  uint32_t purposeAndInner; // purpose * 2^24 + inner
};

// ln(u) for u = (2k+1) * 2^-25, k < 2^24. n = 2k+1 is split as 2^e * m; ln m = 2 artanh((m-1)/(m+1)).
ISOERG_EVERYWHERE double logOfUnit(int32_t n) {
  float rounded = static_cast<float>(n); // only its exponent is used
  int32_t bits;
  memcpy(&bits, &rounded, 4);
  int32_t e = (bits - 0x3f3504f3) >> 23; // so that m lies in [sqrt(1/2), sqrt 2)
  int32_t scaleBits = (127 - e) << 23;
  float scale;
  memcpy(&scale, &scaleBits, 4);
  double m = static_cast<double>(n) * static_cast<double>(scale);
  double s = (m - 1.0) / (m + 1.0);
  double z = s * s;
  double series =
      1.0 + z * (1.0 / 3 + z * (1.0 / 5 + z * (1.0 / 7 + z * (1.0 / 9 + z * (1.0 / 11 + z * (1.0 / 13 + z * (1.0 / 15)))))));
  return (e - 25) * 0.693147180559945309417232121458 + 2.0 * s * series;
}

// cos and sin of 2 pi k / 2^24: a quarter turn is split off exactly in integers, the rest lies in [-pi/4, pi/4].
ISOERG_EVERYWHERE void cosSinOfTurn(int32_t k, double& cosine, double& sine) {
  int32_t quarter = (k + (1 << 21)) >> 22;
  double x = static_cast<double>(k - (quarter << 22)) * (1.57079632679489661923132169164 / (1 << 22));
  double z = x * x;
  double s = x * (1.0 + z * (-1.0 / 6 + z * (1.0 / 120 + z * (-1.0 / 5040 + z * (1.0 / 362880 + z * (-1.0 / 39916800))))));
  double c = 1.0 + z * (-1.0 / 2 + z * (1.0 / 24 + z * (-1.0 / 720 + z * (1.0 / 40320 + z * (-1.0 / 3628800 + z * (1.0 / 479001600))))));
  double first = (quarter & 1) ? s : c;
  double second = (quarter & 1) ? c : s;
  cosine = ((quarter + 1) & 2) ? -first : first;
  sine = (quarter & 2) ? -second : second;
}

// Four words of one counter (Salmon et al. 2011, Philox4x32-10).
ISOERG_EVERYWHERE void philoxWords(const PhiloxKey& key, uint32_t position, uint32_t block, uint32_t (&word)[4]) {
  word[0] = block, word[1] = position, word[2] = key.step, word[3] = key.purposeAndInner;
  uint32_t k0 = key.key0, k1 = key.key1;
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = static_cast<uint64_t>(word[0]) * 0xD2511F53u;
    uint64_t p1 = static_cast<uint64_t>(word[2]) * 0xCD9E8D57u;
    uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ word[1] ^ k0;
    uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ word[3] ^ k1;
    word[0] = n0, word[1] = static_cast<uint32_t>(p1), word[2] = n2, word[3] = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// The four values of one counter.
ISOERG_EVERYWHERE void uniformValues(const uint32_t (&word)[4], float (&value)[4]) {
  for (int w = 0; w < 4; w++) value[w] = static_cast<float>(static_cast<int32_t>(word[w] >> 8)) * 5.9604644775390625e-8f; // 2^-24
}
ISOERG_EVERYWHERE void normalValues(const uint32_t (&word)[4], float (&value)[4]) {
  for (int pair = 0; pair < 2; pair++) {
    double radius = sqrt(-2.0 * logOfUnit(2 * static_cast<int32_t>(word[2 * pair] >> 8) + 1));
    double cosine, sine;
    cosSinOfTurn(static_cast<int32_t>(word[2 * pair + 1] >> 8), cosine, sine);
    value[2 * pair] = static_cast<float>(radius * cosine);
    value[2 * pair + 1] = static_cast<float>(radius * sine);
  }
}

} // namespace isoerg
