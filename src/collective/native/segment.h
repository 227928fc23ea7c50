// What lies in a segment: its head, and the vectors behind it. See ../README.md for the protocol.
//
// Each member owns a segment: an anonymous file (memfd_create), which has no name to be left behind, ends with the last process
// that has it, and is opened by the others as /proc/PID/fd/FD, so by the same user only. A segment belongs to one generation.
// The first page tells which.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace isoerg {

constexpr uint64_t MAGIC = 0x314d454d474f5349; // "ISOGMEM1"
constexpr size_t MAX_MEMBERS = 64;
constexpr size_t SLOTS = 64;             // sums under way at once
constexpr size_t EAGER_BYTES = 8 * 1024; // vectors up to here are copied into the head
constexpr size_t HEAD_BYTES = 1 << 20;

enum Operation : uint32_t { SUM = 0, REDUCE = 1, BROADCAST = 2 }; // into all; into the first; from the first

struct alignas(64) Descriptor {
  uint64_t offset, length; // floats from the data's beginning
  uint64_t step;
  uint32_t bucket, operation;
};

struct alignas(64) Slot {
  std::atomic<uint64_t> claimed;  // sum << 32 | blocks claimed
  std::atomic<uint64_t> finished; // sum << 32 | blocks written
};

struct alignas(64) Standing {
  std::atomic<uint32_t> posted; // sums whose descriptors stand
  std::atomic<uint32_t> done;   // sums that this member is through with
  std::atomic<uint32_t> closed;
};

// At the beginning of every segment; what is shared by all stands in the first member's.
struct Head {
  uint64_t magic, nonce, size;
  uint32_t run, generation, rank, slots;
  alignas(64) std::atomic<uint32_t> events; // waited on
  std::atomic<uint32_t> sleepers;
  Slot slot[SLOTS];
  Standing standing[MAX_MEMBERS];
  Descriptor descriptor[SLOTS];
  alignas(64) float eager[SLOTS][EAGER_BYTES / sizeof(float)];
};
static_assert(sizeof(Head) <= HEAD_BYTES, "the head fits");
static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free, "atomics work between processes");

} // namespace isoerg
