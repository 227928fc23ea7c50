// A sum is cut into blocks. When all members have posted their vectors, whoever is there claims blocks, adds the vectors in
// the order of the members and writes the sum into all of them: each byte is read and written once, and the bits don't
// depend on who did it. Short vectors are copied into the segment's head when they are posted, and each member adds them itself.
#include "host_sums.h"

#include "add.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>

namespace isoerg {

namespace {

constexpr size_t MIN_BLOCK_FLOATS = 4 * 1024;
constexpr size_t MAX_BLOCK_FLOATS = 32 * 1024;
constexpr int SLICE_MS = 20; // between looks at whether the others live

void futexWait(std::atomic<uint32_t>* word, uint32_t seen, int ms) {
  timespec limit{ms / 1000, (ms % 1000) * 1000000L};
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAIT, seen, &limit, nullptr, 0);
}

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

bool lives(const Peer& peer) {
  if (peer.pidfd >= 0) {
    pollfd watched{peer.pidfd, POLLIN, 0};
    return poll(&watched, 1, 0) <= 0;
  }
  return kill(peer.pid, 0) == 0 || errno != ESRCH;
}

const Descriptor& descriptorOf(const Member& m, size_t member, uint32_t sum) { return m.peers[member].head()->descriptor[sum % SLOTS]; }

size_t blockLength(size_t length, size_t members) {
  const size_t share = (length + 2 * members - 1) / (2 * members);
  return std::clamp((share + 15) / 16 * 16, MIN_BLOCK_FLOATS, MAX_BLOCK_FLOATS);
}

bool isEager(const Descriptor& d) { return d.length * sizeof(float) <= EAGER_BYTES; }

void writeBlock(Member& m, uint32_t sum, size_t from, size_t count) {
  const size_t n = m.peers.size();
  const uint32_t operation = descriptorOf(m, 0, sum).operation;
  float* at[MAX_MEMBERS];
  for (size_t i = 0; i < n; i++) at[i] = m.peers[i].data() + descriptorOf(m, i, sum).offset + from;
  if (operation == BROADCAST) {
    for (size_t i = 1; i < n; i++) memcpy(at[i], at[0], count * sizeof(float));
    return;
  }
  if (operation == SUM && n == 2) return addTwo(at[0], at[1], count);
  if (operation == SUM && n == 4) return addFour(at[0], at[1], at[2], at[3], count);
  for (size_t done = 0; done < count;) { // in pieces that stay in the first cache
    const size_t piece = std::min<size_t>(count - done, 1024);
    for (size_t i = 1; i < n; i++) addTo(at[0] + done, at[i] + done, piece);
    for (size_t i = 1; operation == SUM && i < n; i++) memcpy(at[i] + done, at[0] + done, piece * sizeof(float));
    done += piece;
  }
}

void addEager(Member& m, uint32_t sum) {
  const Descriptor& mine = descriptorOf(m, m.self, sum);
  float* target = m.peers[m.self].data() + mine.offset;
  const size_t bytes = mine.length * sizeof(float);
  if (mine.operation == BROADCAST && m.self == 0) return;
  memcpy(target, m.peers[0].head()->eager[sum % SLOTS], bytes);
  if (mine.operation == BROADCAST) return;
  for (size_t i = 1; i < m.peers.size(); i++) addTo(target, m.peers[i].head()->eager[sum % SLOTS], mine.length);
}

// The next unclaimed block of a sum; `blocks` when there is none.
uint32_t claim(Slot& slot, uint32_t number, uint32_t blocks) {
  uint64_t seen = slot.claimed.load();
  for (;;) {
    const uint32_t of = seen >> 32, count = uint32_t(seen);
    if (of > number) return blocks;
    const uint32_t block = of < number ? 0 : count;
    if (block >= blocks) return blocks;
    if (slot.claimed.compare_exchange_weak(seen, uint64_t(number) << 32 | (block + 1))) return block;
  }
}

bool finishBlock(Slot& slot, uint32_t number, uint32_t blocks) {
  uint64_t seen = slot.finished.load();
  for (;;) {
    const uint32_t of = seen >> 32, count = uint32_t(seen);
    const uint32_t now = of < number ? 1 : count + 1;
    if (slot.finished.compare_exchange_weak(seen, uint64_t(number) << 32 | now)) return now == blocks;
  }
}

bool isFinished(const Slot& slot, uint32_t number, uint32_t blocks) {
  const uint64_t seen = slot.finished.load();
  const uint32_t of = seen >> 32;
  return of > number || (of == number && uint32_t(seen) >= blocks);
}

uint32_t numBlocks(const Member& m, uint32_t sum) {
  const size_t length = descriptorOf(m, m.self, sum).length;
  const size_t block = blockLength(length, m.peers.size());
  return uint32_t((length + block - 1) / block);
}

Outcome failWith(Member& m, Outcome outcome, int culprit) {
  if (m.failed == DONE) {
    m.failed = outcome;
    m.culprit = culprit;
  }
  return m.failed;
}

// Whether all have posted this sum; DISAGREE where one posted another.
Outcome allPosted(Member& m, uint32_t sum) {
  for (size_t i = 0; i < m.peers.size(); i++)
    if (m.shared()->standing[i].posted.load(std::memory_order_acquire) <= sum) return PENDING;
  const Descriptor& mine = descriptorOf(m, m.self, sum);
  for (size_t i = 0; i < m.peers.size(); i++) {
    const Descriptor& other = descriptorOf(m, i, sum);
    const size_t room = (m.size - HEAD_BYTES) / sizeof(float);
    const bool fits = other.offset <= room && other.length <= room - other.offset;
    if (!fits || other.length != mine.length || other.step != mine.step || other.bucket != mine.bucket || other.operation != mine.operation)
      return failWith(m, DISAGREE, int(i));
  }
  return DONE;
}

// Does what can be done without waiting. DONE when every sum posted here is complete.
Outcome advance(Member& m) {
  while (m.worked < m.posted) {
    const Outcome ready = allPosted(m, m.worked);
    if (ready == PENDING) break;
    if (ready != DONE) return ready;
    const uint32_t sum = m.worked, number = sum + 1;
    const Descriptor& mine = descriptorOf(m, m.self, sum);
    if (isEager(mine)) {
      addEager(m, sum);
    } else {
      Slot& slot = m.shared()->slot[sum % SLOTS];
      const uint32_t blocks = numBlocks(m, sum);
      const size_t length = mine.length, block = blockLength(length, m.peers.size());
      for (uint32_t b = claim(slot, number, blocks); b < blocks; b = claim(slot, number, blocks)) {
        const size_t from = size_t(b) * block;
        writeBlock(m, sum, from, std::min(block, length - from));
        if (finishBlock(slot, number, blocks)) signalAll(m.shared());
      }
    }
    m.worked++;
  }
  const uint32_t before = m.next;
  while (m.next < m.worked) {
    if (!isEager(descriptorOf(m, m.self, m.next)) && !isFinished(m.shared()->slot[m.next % SLOTS], m.next + 1, numBlocks(m, m.next))) break;
    m.next++;
  }
  if (m.next != before) m.shared()->standing[m.self].done.store(m.next, std::memory_order_release);
  return m.next == m.posted ? DONE : PENDING;
}

uint32_t leastDone(const Member& m) {
  uint32_t least = UINT32_MAX;
  for (size_t i = 0; i < m.peers.size(); i++) least = std::min(least, m.shared()->standing[i].done.load(std::memory_order_acquire));
  return least;
}

// Advances until `reached`, asleep where there is nothing to do. A member that died or closed before its part ends the wait.
template <typename Reached> Outcome waitUntil(Member& m, double timeoutMs, Reached reached) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point until{};
  bool isTiming = false;
  Head* shared = m.shared();
  for (unsigned turn = 0;; turn++) {
    if (m.closed.load()) return failWith(m, CLOSED, -1);
    if (m.failed != DONE) return m.failed;
    const uint32_t seen = shared->events.load();
    const Outcome outcome = advance(m);
    if (outcome != DONE && outcome != PENDING) return outcome;
    if (reached()) return DONE;
    if (turn < m.spins) {
      relax();
      continue;
    }
    const auto now = Clock::now();
    if (!isTiming) {
      isTiming = true;
      until = now + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(timeoutMs));
    }
    if (now >= until) {
      for (size_t i = 0; i < m.peers.size(); i++)
        if (shared->standing[i].posted.load() < m.posted) return failWith(m, TIMED_OUT, int(i));
      return failWith(m, TIMED_OUT, -1);
    }
    shared->sleepers.fetch_add(1);
    if (shared->events.load() == seen && !m.closed.load()) futexWait(&shared->events, seen, SLICE_MS);
    shared->sleepers.fetch_sub(1);
    if (shared->events.load() != seen) continue;
    for (size_t i = 0; i < m.peers.size(); i++) {
      if (i == m.self) continue;
      if (shared->standing[i].closed.load() || !lives(m.peers[i])) {
        const Outcome last = advance(m); // what it did before its end counts
        if (last != DONE && last != PENDING) return last;
        if (reached()) return DONE;
        return failWith(m, GONE, int(i));
      }
    }
  }
}

} // namespace

void signalAll(Head* head) {
  head->events.fetch_add(1);
  if (head->sleepers.load() > 0) syscall(SYS_futex, reinterpret_cast<uint32_t*>(&head->events), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

Outcome finish(Member& m, double timeoutMs) {
  std::lock_guard<std::mutex> lock(m.running);
  return waitUntil(m, timeoutMs, [&] { return m.next == m.posted; });
}

Outcome post(Member& m, float* values, size_t length, uint32_t operation, double step, uint32_t bucket, double timeoutMs) {
  std::lock_guard<std::mutex> lock(m.running);
  if (m.closed.load()) return failWith(m, CLOSED, -1);
  if (m.failed != DONE) return m.failed;
  if (m.posted >= UINT32_MAX - 1) return failWith(m, WORN_OUT, -1);
  if (m.posted >= SLOTS) {
    const Outcome room = waitUntil(m, timeoutMs, [&] { return leastDone(m) + SLOTS > m.posted; });
    if (room != DONE) return room;
  }
  Head* mine = m.peers[m.self].head();
  Descriptor& d = mine->descriptor[m.posted % SLOTS];
  d.offset = uint64_t(values - reinterpret_cast<float*>(m.arena->base));
  d.length = length;
  d.step = uint64_t(step);
  d.bucket = bucket;
  d.operation = operation;
  if (isEager(d)) memcpy(mine->eager[m.posted % SLOTS], values, length * sizeof(float));
  m.posted++;
  m.shared()->standing[m.self].posted.store(m.posted, std::memory_order_release);
  signalAll(m.shared());
  const Outcome outcome = advance(m); // what can be done now need not be done later
  return outcome == PENDING ? DONE : outcome;
}

} // namespace isoerg
