// The CPU allocator under every tensor: freed blocks are kept by size class and handed out again.
//
// A training step frees and wants the same few sizes again and again. glibc returns each block of more than 32 MB (and
// often smaller ones) to the kernel, so that every activation is paid for in page faults: a third of a step where it was
// measured. The pool also counts: bytes that tensors hold now, their peak, and bytes kept for reuse. What it holds and keeps
// together stays within twice what tensors ever held at once (small networks: 256 MiB more), so a phase with other sizes
// than the one before takes that one's blocks' place in the end. A closer limit saves memory and costs dearly: at a
// quarter more, a pass of the quickstart's network faulted 6 MB in again and took 15.4 ms instead of 11.
//
// One pool serves the process (worker threads too); a mutex guards it. c10 demands that a block's pointer is its context
// for raw_allocate, so the size stands in a header before the data.
#pragma once
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <mutex>
#include <vector>

namespace isoerg {

struct PoolCounts {
  size_t held = 0;    // bytes in tensors now, rounded up to their size class
  size_t peak = 0;    // highest `held` since the last resetPeak
  size_t cached = 0;  // bytes in freed blocks that wait to be used again
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
    return counts_;
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
  static constexpr size_t kHeader = 64; // keeps the data on a cache line of its own
  static constexpr size_t kHugePage = size_t(2) << 20;
  static constexpr size_t kMapped = size_t(512) << 10;
  static constexpr size_t kSlack = size_t(256) << 20;

  // Eight classes for each power of two: at most 12.5 % is wasted, and nearby sizes share blocks.
  static size_t sizeClass(size_t n) {
    if (n <= 512) return (n + 63) / 64 * 64;
    size_t step = size_t(1) << (60 - __builtin_clzll(n - 1));
    return (n + step - 1) / step * step;
  }

  c10::DataPtr take(size_t n) {
    if (n == 0) return {nullptr, nullptr, &Pool::release, c10::Device(c10::DeviceType::CPU)};
    size_t size = sizeClass(n);
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
      counts_.held += size;
      if (counts_.held > counts_.peak) counts_.peak = counts_.held;
      if (counts_.held > counts_.ceiling) counts_.ceiling = counts_.held;
      size_t limit = counts_.ceiling + std::max(counts_.ceiling, kSlack);
      if (!block && counts_.held + counts_.cached > limit) shrink(limit > counts_.held ? limit - counts_.held : 0);
    }
    if (!block) block = fresh(size);
    memcpy(block, &size, sizeof size);
    void* data = static_cast<char*>(block) + kHeader;
    return {data, data, &Pool::release, c10::Device(c10::DeviceType::CPU)};
  }

  // Frees cached blocks, the largest first, until no more than this is cached. Under the lock.
  void shrink(size_t cached) {
    while (counts_.cached > cached && !free_.empty()) {
      auto last = std::prev(free_.end());
      if (last->second.empty()) {
        free_.erase(last);
        continue;
      }
      giveBack(last->second.back(), last->first);
      last->second.pop_back();
      counts_.cached -= last->first;
    }
  }

  // Large blocks are mappings of their own: on glibc's heap, aligned blocks of changing sizes leave holes.
  void* fresh(size_t size) {
    void* block = obtain(size);
    if (block) return block;
    trim(); // what is cached may be what is missing
    block = obtain(size);
    if (block) return block;
    std::lock_guard<std::mutex> lock(mutex_);
    counts_.held -= size;
    TORCH_CHECK(false, "out of memory: ", size, " bytes were asked for while tensors hold ", counts_.held, " bytes");
  }

  static void* obtain(size_t size) {
    void* block = nullptr;
    if (size < kMapped) return posix_memalign(&block, 64, size + kHeader) == 0 ? block : nullptr;
    block = mmap(nullptr, size + kHeader, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return nullptr;
    if (size >= 2 * kHugePage) madvise(block, size + kHeader, MADV_HUGEPAGE);
    return block;
  }

  static void giveBack(void* block, size_t size) {
    if (size < kMapped) ::free(block);
    else munmap(block, size + kHeader);
  }

  static void release(void* data) {
    if (!data) return;
    void* block = static_cast<char*>(data) - kHeader;
    size_t size;
    memcpy(&size, block, sizeof size);
    Pool& pool = instance();
    {
      std::lock_guard<std::mutex> lock(pool.mutex_);
      pool.counts_.held -= size;
      pool.free_[size].push_back(block);
      pool.counts_.cached += size;
    }
  }

  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;
  PoolCounts counts_;
};

} // namespace isoerg
