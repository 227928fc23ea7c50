// For the widest vectors that the processor has, chosen when the library is loaded.
#include "add.h"

namespace isoerg {

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

WIDE void addTo(float* __restrict target, const float* __restrict source, size_t count) {
  for (size_t i = 0; i < count; i++) target[i] += source[i];
}

WIDE void addTwo(float* __restrict a, float* __restrict b, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const float sum = a[i] + b[i];
    a[i] = sum;
    b[i] = sum;
  }
}

WIDE void addFour(float* __restrict a, float* __restrict b, float* __restrict c, float* __restrict d, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const float sum = ((a[i] + b[i]) + c[i]) + d[i];
    a[i] = sum;
    b[i] = sum;
    c[i] = sum;
    d[i] = sum;
  }
}

} // namespace isoerg
