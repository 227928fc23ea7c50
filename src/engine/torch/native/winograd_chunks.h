// The loops of Winograd convolutions (winograd.h): a batch's tiles are taken in chunks that stay in the second-level cache with
// their transforms, patches -> 36 matrices [tiles][in], times the filter's 36 [in][out], -> 36 [tiles][out] -> tiles of the output.
// Each loop is compiled for AVX-512 and for AVX2, for float32 and for bfloat16 storage; the processor is asked once.
#pragma once
#include <algorithm>

#include "processor.h"
#include "winograd_tile.h"

namespace isoerg {

#define ISOERG_INLINED __attribute__((always_inline))

struct WinogradShape {
  int64_t batch, height, width;  // of the input
  int64_t outHeight, outWidth;   // of the output
  int64_t in, out, padding;      // channels; pixels on each side
  int64_t tilesY() const { return (outHeight + kTile - 1) / kTile; }
  int64_t tilesX() const { return (outWidth + kTile - 1) / kTile; }
  int64_t numTiles() const { return batch * tilesY() * tilesX(); }
  // A chunk's transforms take about 600 KB.
  int64_t chunk() const {
    int64_t tiles = (int64_t(600) << 10) / (kPoints * sizeof(float) * (in + out)) / 8 * 8;
    return std::min<int64_t>(64, std::max<int64_t>(16, tiles));
  }
  // Between the 36 matrices of a chunk: a power of two would put all of them into the same few places of the caches.
  int64_t inStep() const { return chunk() * in + 16; }
  int64_t outStep() const { return chunk() * out + 16; }
  int64_t scratchSize() const { return kPoints * (inStep() + outStep()); }
  int64_t numChunks() const { return (numTiles() + chunk() - 1) / chunk(); }
};

// Channels fill whole vectors, and the windows that stick out of the image don't eat up what is saved.
inline bool winogradPays(int64_t in, int64_t out, int64_t outHeight, int64_t outWidth) {
  int64_t tiles = (outHeight + kTile - 1) / kTile * ((outWidth + kTile - 1) / kTile);
  return in % 16 == 0 && out % 16 == 0 && in > 0 && out > 0 && outHeight > 0 && outWidth > 0 && 16 * kPoints * tiles < 90 * outHeight * outWidth;
}

struct TilePlace {
  int64_t image, y, x; // of its first output pixel
};

ISOERG_INLINE TilePlace placeOf(const WinogradShape& s, int64_t tile) {
  auto perRow = static_cast<uint32_t>(s.tilesX()), perImage = static_cast<uint32_t>(s.tilesY()) * perRow, number = static_cast<uint32_t>(tile);
  uint32_t within = number % perImage;
  return {number / perImage, within / perRow * kTile, within % perRow * kTile};
}

// The square of kSize x kSize pixels from (y, x) on of an image [height][width][channels]; pixels outside are zeros.
template <int kSize, class Storage>
struct Square {
  const Storage* pixels[kSize][kSize];

  ISOERG_INLINE Square at(const Storage* image, int64_t height, int64_t width, int64_t channels, int64_t y, int64_t x, const Storage* zeros) {
    Square square;
    const bool inside = y >= 0 && x >= 0 && y + kSize <= height && x + kSize <= width;
    const Storage* first = image + (y * width + x) * channels;
    for (int64_t i = 0; i < kSize; i++)
      for (int64_t j = 0; j < kSize; j++) {
        bool exists = inside || (y + i >= 0 && y + i < height && x + j >= 0 && x + j < width);
        square.pixels[i][j] = exists ? first + (i * width + j) * channels : zeros;
      }
    return square;
  }
};

// Patches of a chunk's tiles -> patches [36][chunk][in]; rows beyond the last tile are zeros.
template <class Isa, class Storage>
ISOERG_INLINE void transformPatches(const WinogradShape& s, const Storage* x, int64_t first, int64_t chunk, const Storage* zeros, float* patches) {
  typedef typename Isa::Vector Vector;
  typedef Square<kPatch, Storage> Patch;
  const int64_t step = s.inStep(), end = std::min(chunk, s.numTiles() - first);
  for (int64_t t = 0; t < end; t++) {
    TilePlace place = placeOf(s, first + t);
    Patch patch = Patch::at(x + place.image * s.height * s.width * s.in, s.height, s.width, s.in, place.y - s.padding, place.x - s.padding, zeros);
    for (int64_t c = 0; c < s.in; c += Isa::kLanes) {
      float* to = patches + t * s.in + c;
      bothDimensions<kPatch, kPatch, Vector>(
          [&](int i, int j) ISOERG_INLINED { return loadLanes<Isa>(patch.pixels[i][j] + c); },
          [](const Vector(&in)[6], Vector(&out)[6]) ISOERG_INLINED { inputTransform(in, out); },
          [&](int i, int j, Vector value) ISOERG_INLINED { storeLanes<Isa>(value, to + (i * kPatch + j) * step); });
    }
  }
  for (int p = 0; p < kPoints; p++) std::fill(patches + p * step + end * s.in, patches + p * step + chunk * s.in, 0.0f);
}

// Products [36][chunk][out] -> the chunk's tiles of y, with the bias.
template <class Isa, class Storage>
ISOERG_INLINE void writeTiles(const WinogradShape& s, const float* products, const float* bias, int64_t first, int64_t chunk, Storage* y) {
  typedef typename Isa::Vector Vector;
  const int64_t end = std::min(chunk, s.numTiles() - first), step = s.outStep();
  for (int64_t t = 0; t < end; t++) {
    TilePlace place = placeOf(s, first + t);
    Storage* tile = y + ((place.image * s.outHeight + place.y) * s.outWidth + place.x) * s.out;
    const int64_t rows = std::min<int64_t>(kTile, s.outHeight - place.y), columns = std::min<int64_t>(kTile, s.outWidth - place.x);
    for (int64_t c = 0; c < s.out; c += Isa::kLanes) {
      const float* from = products + t * s.out + c;
      Vector shift = bias ? loadLanes<Isa>(bias + c) : Vector{};
      bothDimensions<kPatch, kTile, Vector>(
          [&](int i, int j) ISOERG_INLINED { return loadLanes<Isa>(from + (i * kPatch + j) * step); },
          [](const Vector(&in)[6], Vector(&out)[4]) ISOERG_INLINED { outputTransform(in, out); },
          [&](int i, int j, Vector value) ISOERG_INLINED {
            if (i < rows && j < columns) storeLanes<Isa>(value + shift, tile + (i * s.outWidth + j) * s.out + c);
          });
    }
  }
}

// Tiles of dy -> gradients [36][chunk][out], stored in blocks of columns; rows beyond the last tile are zeros.
template <class Isa, class Storage>
ISOERG_INLINE void transformGradients(const WinogradShape& s, const Storage* dy, int64_t first, int64_t chunk, const Storage* zeros, float* gradients) {
  typedef typename Isa::Vector Vector;
  typedef Square<kTile, Storage> Tile;
  const int64_t step = s.outStep(), end = std::min(chunk, s.numTiles() - first);
  if (end < chunk) std::fill(gradients, gradients + kPoints * step, 0.0f);
  for (int64_t t = 0; t < end; t++) {
    TilePlace place = placeOf(s, first + t);
    Tile tile = Tile::at(dy + place.image * s.outHeight * s.outWidth * s.out, s.outHeight, s.outWidth, s.out, place.y, place.x, zeros);
    for (int64_t c = 0; c < s.out; c += Isa::kLanes) {
      float* to = gradients + blockedIndex(t, c, chunk, s.out);
      bothDimensions<kTile, kPatch, Vector>(
          [&](int i, int j) ISOERG_INLINED { return loadLanes<Isa>(tile.pixels[i][j] + c); },
          [](const Vector(&in)[4], Vector(&out)[6]) ISOERG_INLINED { gradientTransform(in, out); },
          [&](int i, int j, Vector value) ISOERG_INLINED { storeLanes<Isa>(value, to + (i * kPatch + j) * step); });
    }
  }
}

// scratch: scratchSize() floats. filter: 36 matrices [in][out] in blocks of columns.
template <class Isa, class Storage>
ISOERG_INLINE void convolveChunks(
    const WinogradShape& s, const Storage* x, const float* filter, const float* bias, const Storage* zeros, float* scratch, int64_t begin, int64_t end, Storage* y) {
  const int64_t chunk = s.chunk();
  float* products = scratch + kPoints * s.inStep();
  for (int64_t at = begin; at < end; at++) {
    transformPatches<Isa>(s, x, at * chunk, chunk, zeros, scratch);
    for (int64_t p = 0; p < kPoints; p++)
      product<Isa, false>(scratch + p * s.inStep(), s.in, 1, filter + p * s.in * s.out, s.in, products + p * s.outStep(), chunk, s.out);
    writeTiles<Isa>(s, products, bias, at * chunk, chunk, y);
  }
}

// Adds the chunks' share to sums [36][in][out].
template <class Isa, class Storage>
ISOERG_INLINE void filterGradientChunks(
    const WinogradShape& s, const Storage* x, const Storage* dy, const Storage* zeros, float* scratch, int64_t begin, int64_t end, float* sums) {
  const int64_t chunk = s.chunk();
  float* gradients = scratch + kPoints * s.inStep();
  for (int64_t at = begin; at < end; at++) {
    transformPatches<Isa>(s, x, at * chunk, chunk, zeros, scratch);
    transformGradients<Isa>(s, dy, at * chunk, chunk, zeros, gradients);
    for (int64_t p = 0; p < kPoints; p++)
      product<Isa, true>(scratch + p * s.inStep(), 1, s.in, gradients + p * s.outStep(), chunk, sums + p * s.in * s.out, s.in, s.out);
  }
}

#ifdef ISOERG_X86
#define ISOERG_WINOGRAD(Isa, Storage, Name, Target)                                                                                          \
  __attribute__((target(Target))) inline void convolve##Name(                                                                                \
      const WinogradShape& s, const Storage* x, const float* filter, const float* bias, const Storage* zeros, float* scratch, int64_t begin, \
      int64_t end, Storage* y) {                                                                                                             \
    convolveChunks<Isa>(s, x, filter, bias, zeros, scratch, begin, end, y);                                                                  \
  }                                                                                                                                          \
  __attribute__((target(Target))) inline void filterGradient##Name(                                                                          \
      const WinogradShape& s, const Storage* x, const Storage* dy, const Storage* zeros, float* scratch, int64_t begin, int64_t end,         \
      float* sums) {                                                                                                                         \
    filterGradientChunks<Isa>(s, x, dy, zeros, scratch, begin, end, sums);                                                                   \
  }
ISOERG_WINOGRAD(Avx512, float, FloatAvx512, ISOERG_AVX512)
ISOERG_WINOGRAD(Avx512, uint16_t, BfloatAvx512, ISOERG_AVX512)
ISOERG_WINOGRAD(Avx512Bfloat, uint16_t, NativeBfloatAvx512, ISOERG_AVX512)
ISOERG_WINOGRAD(Avx2, float, FloatAvx2, "avx2,fma")
ISOERG_WINOGRAD(Avx2, uint16_t, BfloatAvx2, "avx2,fma")
#undef ISOERG_WINOGRAD
#define ISOERG_HAS_WINOGRAD 1
#endif

} // namespace isoerg
