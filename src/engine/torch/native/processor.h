// What the processor that this runs on can do, asked once, and a limit to it for tests and comparisons.
#pragma once
#include <algorithm>
#include <atomic>

namespace isoerg {

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define ISOERG_X86 1
#define ISOERG_AVX512 "avx512f,avx512bw,avx512vl,avx512dq,fma,prefer-vector-width=512"
#endif

// 2 AVX-512, 1 AVX2, 0 neither.
inline int processorLevel() {
#ifdef ISOERG_X86
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return 2;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
  return 0;
}
inline std::atomic<int>& levelLimit() {
  static std::atomic<int> limit(2);
  return limit;
}
inline int vectorLevel() {
  static const int level = processorLevel();
  return std::min(level, levelLimit().load(std::memory_order_relaxed));
}
// Whether one instruction rounds 16 floats to bfloat16 (AVX512_BF16).
inline bool roundsToBfloat() {
#ifdef ISOERG_X86
  static const bool has = processorLevel() == 2 && __builtin_cpu_supports("avx512bf16");
  return has;
#else
  return false;
#endif
}

} // namespace isoerg
