// Keyed noise: rows of uniform or normal values from Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). A row's values depend on the key alone, never on the number of rows, threads or processes.
//
// The same streams stand in TypeScript (src/engine/random/philox.ts). Uniform values agree bit for bit. Normal values are
// computed here in float64 polynomials (error < 1e-11) and rounded to float32 once, so they agree to the last place.
//
// Written for the compiler's vectoriser: kLanes counters go side by side through branch-free loops, and target_clones
// makes one copy for each instruction set, chosen when the library loads. philox.cu draws the same on a GPU.
#pragma once
#include <stddef.h>

#include "philox_math.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define ISOERG_CLONES __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define ISOERG_CLONES
#endif

namespace isoerg {

constexpr int kLanes = 32;

struct PhiloxBlocks {
  uint32_t word[4][kLanes];
};

static inline __attribute__((always_inline)) void philoxBlocks(
    const PhiloxKey& key, uint32_t position, uint32_t firstBlock, PhiloxBlocks& out) {
  uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
  for (int i = 0; i < kLanes; i++) {
    c0[i] = firstBlock + static_cast<uint32_t>(i);
    c1[i] = position;
    c2[i] = key.step;
    c3[i] = key.purposeAndInner;
  }
  uint32_t k0 = key.key0, k1 = key.key1;
  for (int round = 0; round < 10; round++) {
    for (int i = 0; i < kLanes; i++) {
      uint64_t p0 = static_cast<uint64_t>(c0[i]) * 0xD2511F53u;
      uint64_t p1 = static_cast<uint64_t>(c2[i]) * 0xCD9E8D57u;
      uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1[i] ^ k0;
      uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3[i] ^ k1;
      c1[i] = static_cast<uint32_t>(p1);
      c3[i] = static_cast<uint32_t>(p0);
      c0[i] = n0;
      c2[i] = n2;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  memcpy(out.word[0], c0, sizeof c0);
  memcpy(out.word[1], c1, sizeof c1);
  memcpy(out.word[2], c2, sizeof c2);
  memcpy(out.word[3], c3, sizeof c3);
}

// Writes 4 * kLanes interleaved values, or the first `count` of them at the end of a row.
static inline __attribute__((always_inline)) void store(const float (&values)[4][kLanes], float* out, size_t count) {
  if (count >= 4 * kLanes) {
    for (int i = 0; i < kLanes; i++)
      for (int w = 0; w < 4; w++) out[4 * i + w] = values[w][i];
    return;
  }
  for (size_t j = 0; j < count; j++) out[j] = values[j & 3][j >> 2];
}

ISOERG_CLONES void uniformRow(const PhiloxKey& key, uint32_t position, float* out, size_t size) {
  for (size_t done = 0; done < size; done += 4 * kLanes) {
    PhiloxBlocks blocks;
    float values[4][kLanes];
    philoxBlocks(key, position, static_cast<uint32_t>(done / 4), blocks);
    for (int w = 0; w < 4; w++)
      for (int i = 0; i < kLanes; i++) values[w][i] = static_cast<float>(static_cast<int32_t>(blocks.word[w][i] >> 8)) * 0x1p-24f;
    store(values, out + done, size - done);
  }
}

// Box and Muller 1958: each pair of words gives a radius and an angle.
ISOERG_CLONES void normalRow(const PhiloxKey& key, uint32_t position, float* out, size_t size) {
  for (size_t done = 0; done < size; done += 4 * kLanes) {
    PhiloxBlocks blocks;
    float values[4][kLanes];
    philoxBlocks(key, position, static_cast<uint32_t>(done / 4), blocks);
    for (int pair = 0; pair < 2; pair++) {
      for (int i = 0; i < kLanes; i++) {
        int32_t radiusWord = static_cast<int32_t>(blocks.word[2 * pair][i] >> 8);
        int32_t angleWord = static_cast<int32_t>(blocks.word[2 * pair + 1][i] >> 8);
        double radius = sqrt(-2.0 * logOfUnit(2 * radiusWord + 1));
        double cosine, sine;
        cosSinOfTurn(angleWord, cosine, sine);
        values[2 * pair][i] = static_cast<float>(radius * cosine);
        values[2 * pair + 1][i] = static_cast<float>(radius * sine);
      }
    }
    store(values, out + done, size - done);
  }
}

} // namespace isoerg
