// The CPU allocator under every tensor: freed blocks are kept and handed out again.
//
// A training step frees and wants the same few sizes again and again. glibc returns each block of more than 32 MB (and
// often smaller ones) to the kernel, so that every activation is paid for in page faults: a third of a step where it was
// measured. Large blocks are an arena's (arena.h), small ones are kept by size class. The pool also counts: bytes that tensors
// hold now, their peak, and bytes kept for reuse. What it holds and keeps together stays within one and a half times what tensors
// ever held at once (small networks: 64 MiB more).
//
// One pool serves the process (worker threads too); a mutex guards it. c10 demands that a block's pointer is its context
// for raw_allocate, so the size stands in a header before the data.
#pragma once
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <mutex>
#include <vector>

#include "arena.h"

namespace isoerg {

struct PoolCounts {
  size_t held = 0;    // bytes in tensors now, rounded up to whole cache lines or to their size class
  size_t peak = 0;    // highest `held` since the last resetPeak
  size_t cached = 0;  // bytes of memory in freed blocks that wait to be used again
  size_t ceiling = 0; // highest `held` ever
};

class Pool final : public c10::Allocator {
 public:
  static Pool& instance() {
    static Pool* pool = new Pool(); // never destroyed: tensors may outlive static destructors
    return *pool;
  }

  // Until 2.2 `allocate` is a const member, from 2.3 it isn't. Both are here, and neither says `override`.
  c10::DataPtr allocate(size_t n) { return take(n); }
  c10::DataPtr allocate(size_t n) const { return const_cast<Pool*>(this)->take(n); }
  void copy_data(void* to, const void* from, size_t n) const { memcpy(to, from, n); }
  c10::DeleterFnPtr raw_deleter() const override { return &Pool::release; }

  PoolCounts counts() {
    std::lock_guard<std::mutex> lock(mutex_);
    PoolCounts counts = counts_;
    counts.cached += arena_.touched();
    return counts;
  }

  void resetPeak() {
    std::lock_guard<std::mutex> lock(mutex_);
    counts_.peak = counts_.held;
  }

  // Gives cached blocks back to the system.
  void trim() {
    std::lock_guard<std::mutex> lock(mutex_);
    shrink(0);
  }

 private:
  static constexpr size_t kHeader = Arena::kHeader;
  static constexpr size_t kLarge = size_t(256) << 10; // an arena's; smaller ones are kept by size class
  static constexpr size_t kSlack = size_t(64) << 20;

  // Eight classes for each power of two: at most 12.5 % is wasted, and nearby sizes share blocks.
  static size_t sizeClass(size_t n) {
    if (n <= 512) return (n + 63) / 64 * 64;
    size_t step = size_t(1) << (60 - __builtin_clzll(n - 1));
    return (n + step - 1) / step * step;
  }

  c10::DataPtr take(size_t n) {
    void* data = n == 0 ? nullptr : n <= kLarge ? takeSmall(sizeClass(n)) : takeLarge(n);
    return {data, data, &Pool::release, c10::Device(c10::DeviceType::CPU)};
  }

  void* takeLarge(size_t n) {
    std::lock_guard<std::mutex> lock(mutex_);
    const size_t size = (n + 63) / 64 * 64;
    void* data = arena_.take(size);
    if (!data) {
      shrink(0); // what is cached may be what is missing
      data = arena_.take(size);
    }
    TORCH_CHECK(data, "out of memory: ", n, " bytes were asked for while tensors hold ", counts_.held, " bytes");
    count(sizeOf(data));
    return data;
  }

  void* takeSmall(size_t size) {
    void* block = nullptr;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      auto fit = free_.lower_bound(size);
      while (fit != free_.end() && fit->second.empty()) fit = free_.erase(fit);
      if (fit != free_.end() && fit->first <= size + size / 4) { // a somewhat larger block will do
        size = fit->first;
        block = fit->second.back();
        fit->second.pop_back();
        counts_.cached -= size;
      }
      count(size);
    }
    if (!block) block = fresh(size);
    memcpy(block, &size, sizeof size);
    return static_cast<char*>(block) + kHeader;
  }

  // Under the lock, as what follows.
  void count(size_t size) {
    counts_.held += size;
    counts_.peak = std::max(counts_.peak, counts_.held);
    counts_.ceiling = std::max(counts_.ceiling, counts_.held);
    const size_t limit = counts_.ceiling + std::max(counts_.ceiling / 2, kSlack);
    if (counts_.held + counts_.cached + arena_.touched() > limit) shrink(limit > counts_.held ? limit - counts_.held : 0);
  }

  // Gives cached memory back until no more than this is left: large blocks first.
  void shrink(size_t cached) {
    arena_.shrink(cached > counts_.cached ? cached - counts_.cached : 0);
    while (counts_.cached + arena_.touched() > cached && !free_.empty()) {
      auto last = std::prev(free_.end());
      if (last->second.empty()) {
        free_.erase(last);
        continue;
      }
      ::free(last->second.back());
      last->second.pop_back();
      counts_.cached -= last->first;
    }
  }

  void* fresh(size_t size) {
    void* block = nullptr;
    if (posix_memalign(&block, 64, size + kHeader) == 0) return block;
    trim();
    if (posix_memalign(&block, 64, size + kHeader) == 0) return block;
    std::lock_guard<std::mutex> lock(mutex_);
    counts_.held -= size;
    TORCH_CHECK(false, "out of memory: ", size, " bytes were asked for while tensors hold ", counts_.held, " bytes");
  }

  // An arena's block begins with its size too, which is always more than kLarge.
  static size_t sizeOf(const void* data) {
    size_t size;
    memcpy(&size, static_cast<const char*>(data) - kHeader, sizeof size);
    return size;
  }

  static void release(void* data) {
    if (!data) return;
    const size_t size = sizeOf(data);
    Pool& pool = instance();
    std::lock_guard<std::mutex> lock(pool.mutex_);
    pool.counts_.held -= size;
    if (size > kLarge) {
      pool.arena_.give(data);
      return;
    }
    pool.free_[size].push_back(static_cast<char*>(data) - kHeader);
    pool.counts_.cached += size;
  }

  std::mutex mutex_;
  Arena arena_;
  std::map<size_t, std::vector<void*>> free_; // small blocks
  PoolCounts counts_;                         // `cached` of the small ones
};

} // namespace isoerg
