// A rank's TCP connections of one generation, and the sum under way on them. See ../README.md, "Streams".
//
// What travels in which order is told by a program (../stream-plan.ts), so no frames are needed: a connection carries, for each
// stage of a sum, a header that says which, and then the stage's bytes. They leave from the vector and come into it, or are added
// to it while they come. One thread at a time drives: the one that asked for the sum for a moment, then one of its own.
#pragma once

#include "outcome.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace isoerg {

// What goes before the bytes of a stage; little-endian. Both ends know what it must be.
struct StageHeader {
  uint32_t magic;
  uint16_t version, round;
  uint32_t run, generation;
  uint64_t step, length, bytes; // of the vector, in values; of what follows
  uint32_t bucket, sender;
};
static_assert(sizeof(StageHeader) == 48, "no gaps");

struct Piece {
  size_t from, bytes; // in the vector
  bool add;
};

enum Order : uint32_t {
  FREE = 0,    // sends whatever it has
  CHAINED = 1, // its first piece, and after that as much as it has received
  GUARDED = 2, // receives no further than it has sent, because it adds where it sends from
};

struct Stage {
  uint32_t round = 0;     // alike on both sides
  int to = -1, from = -1; // ranks
  Order order = FREE;
  std::vector<Piece> send, receive;
};

// How far one direction of a stage is.
struct Cursor {
  size_t header = 0; // bytes of it
  size_t bytes = 0, total = 0;
  size_t piece = 0, at = 0;
  void pass(const std::vector<Piece>& pieces, size_t count);
};

struct Sum {
  uint8_t* values = nullptr;
  size_t length = 0;
  uint64_t step = 0;
  uint32_t bucket = 0;
  std::vector<Stage> stages;
  size_t stage = 0;
  Cursor sending, receiving;
  size_t carried = 0; // bytes of an unfinished value, at the scratch's beginning
  double timeoutMs = 0;
  double maxSpinMs = 0; // looking again and again for that long, before it sleeps
};

class Streams {
public:
  const uint32_t run, generation, rank;
  const int silenceMs; // after which a connection is asked whether the other end is there

  Streams(uint32_t run, uint32_t generation, uint32_t rank, int silenceMs);
  ~Streams();

  // Takes a connection for one direction; the descriptor stays the caller's.
  bool connect(uint32_t peer, bool isOut, int fd);
  bool has(int peer, bool isOut) const;

  // Begins a sum and drives it for a moment. PENDING: `finish` has to go on.
  Outcome begin(Sum sum);
  // Until the sum is done, or the end.
  Outcome finish();

  // Ends pending and later sums; connections close. From any thread.
  void close();
  // The neighbour is thought to be gone: what still comes is taken, and when nothing does the sum ends. From any thread.
  void lose();

  // After a failure: the rank that did not send, -2 - rank for one that did not take, -1 for none; and what header came.
  int culprit() const { return fault.load(); }
  StageHeader unexpected() const { return heard; }

private:
  enum class Move { SOME, NONE, FAILED };
  Outcome drive(double budgetMs);
  Move sendSome();
  Move receiveSome();
  bool accept(); // the header that has come
  void beginStage();
  size_t sendable() const;
  size_t receivable() const;
  void sleepUntilReady(double ms);
  StageHeader headerOf(size_t bytes, uint32_t sender) const;
  Outcome failWith(Outcome outcome, int who);

  std::mutex driving;
  Sum sum;
  StageHeader told{}, heard{};
  bool isActive = false;
  double spinMs = 0.02; // before it sleeps; adapts
  Outcome failed = DONE;
  std::atomic<int> fault{-1};
  std::atomic<bool> closed{false}, lost{false};
  std::map<int, int> outs, ins; // descriptors by rank
  int wake = -1;
  std::unique_ptr<uint8_t[]> memory;
  uint8_t* scratch = nullptr;
};

} // namespace isoerg
