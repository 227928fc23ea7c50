// Large blocks for the pool (pool.h): cut out of few mappings, and joined with their free neighbours when they are given back.
//
// A training step's passes come in several batch sizes: attacks and chains with n samples, the update with three times as
// many, forward alone with others. Blocks that are kept by their size serve one kind of pass each, and the memory of all kinds lies
// side by side; here what one pass leaves serves the next, whatever its sizes. The smallest free block that is large enough is
// taken, at equal size the one at the lowest address, so a step that repeats gets the same places again.
//
// A mapping's address range is reserved whole and costs nothing until it is written. How much of a free block has been
// written is known as a prefix of it, an upper bound. Not safe for threads by itself: the pool holds its lock.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <algorithm>
#include <set>

namespace isoerg {

class Arena {
 public:
  static constexpr size_t kHeader = 64; // in front of a block's data, on a cache line of its own

  // Returns room for `size` bytes, a multiple of 64; null where the system has no more.
  void* take(size_t size) {
    const size_t whole = size + kHeader;
    auto fit = free_.lower_bound({whole, nullptr});
    if (fit == free_.end()) {
      Block* mapped = map(whole);
      if (!mapped) return nullptr;
      fit = insert(mapped);
    }
    Block* block = fit->block;
    remove(fit);
    if (block->size - whole >= kSmallest) {
      Block* rest = reinterpret_cast<Block*>(reinterpret_cast<char*>(block) + whole);
      *rest = {block->size - whole, block->touched > whole ? block->touched - whole : 0, block, block->after, true};
      if (rest->after) rest->after->before = rest;
      block->after = rest;
      block->size = whole;
      insert(rest);
    }
    block->isFree = false;
    return reinterpret_cast<char*>(block) + kHeader;
  }

  // Takes back what `take` returned.
  void give(void* data) {
    Block* block = blockOf(data);
    block->isFree = true;
    block->touched = block->size;
    if (Block* after = block->after; after && after->isFree) {
      remove(free_.find({after->size, after}));
      block->touched += after->touched;
      join(block, after);
    }
    if (Block* before = block->before; before && before->isFree) {
      remove(free_.find({before->size, before}));
      before->touched = before->size + block->touched;
      join(before, block);
      block = before;
    }
    insert(block);
  }

  // Free bytes that hold memory, at most.
  size_t touched() const { return touched_; }

  // Gives memory of free blocks back to the system, the largest first, until no more than `keep` bytes of it are left.
  void shrink(size_t keep) {
    auto at = free_.end();
    while (touched_ > keep && at != free_.begin()) {
      Block* block = (--at)->block;
      touched_ -= block->touched;
      if (!block->before && !block->after) {
        at = free_.erase(at);
        munmap(block, block->size);
        continue;
      }
      const auto start = reinterpret_cast<uintptr_t>(block);
      const uintptr_t first = (start + sizeof(Block) + kPage - 1) / kPage * kPage, last = (start + block->touched) / kPage * kPage;
      if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
      block->touched = 0;
    }
  }

 private:
  static constexpr size_t kPage = 4096;
  static constexpr size_t kSmallest = kPage;         // less is left with the block before it
  static constexpr size_t kMapping = size_t(1) << 30; // address space, not memory
  static constexpr size_t kHugePage = size_t(2) << 20;

  struct Block {
    size_t size; // header and data; first, where the pool looks for it
    size_t touched;
    Block *before, *after; // in its mapping; null at the ends
    bool isFree;
  };
  static_assert(sizeof(Block) <= kHeader);

  struct Entry {
    size_t size;
    Block* block;
    bool operator<(const Entry& other) const { return size != other.size ? size < other.size : block < other.block; }
  };
  using Entries = std::set<Entry>;

  static Block* blockOf(const void* data) { return reinterpret_cast<Block*>(const_cast<char*>(static_cast<const char*>(data)) - kHeader); }

  Entries::iterator insert(Block* block) {
    touched_ += block->touched;
    return free_.insert({block->size, block}).first;
  }

  Entries::iterator remove(Entries::iterator at) {
    touched_ -= at->block->touched;
    return free_.erase(at);
  }

  static void join(Block* block, Block* after) {
    block->size += after->size;
    block->after = after->after;
    if (block->after) block->after->before = block;
  }

  static Block* map(size_t size) {
    const size_t least = (size + kHugePage - 1) / kHugePage * kHugePage;
    for (size_t length : {std::max(least, kMapping), least}) {
      void* start = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (start == MAP_FAILED) continue;
      madvise(start, length, MADV_HUGEPAGE);
      auto* block = static_cast<Block*>(start);
      *block = {length, 0, nullptr, nullptr, true};
      return block;
    }
    return nullptr;
  }

  Entries free_;
  size_t touched_ = 0;
};

} // namespace isoerg
