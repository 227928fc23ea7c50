// Sums over the processes of one host, in memory that all of them have mapped. See ../README.md for the protocol.
//
// Each member owns a segment: an anonymous file (memfd_create), which has no name to be left behind, ends with the last process
// that has it, and is opened by the others as /proc/PID/fd/FD, so by the same user only. A segment belongs to one generation.
// The first page tells which; a process maps the data of its new segment over the same addresses as that of the last one, so
// that a member which slept through the change goes on writing into memory that nobody else looks at.
//
// A sum is cut into blocks. When all members have posted their vectors, whoever is there claims blocks, adds the vectors in
// the order of the members and writes the sum into all of them: each byte is read and written once, and the bits don't
// depend on who did it. Short vectors are copied into the segment's head when they are posted, and each member adds them itself.
#include <node_api.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <linux/futex.h>
#include <memory>
#include <mutex>
#include <poll.h>
#include <signal.h>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include <unordered_map>
#include <vector>

namespace {

constexpr uint64_t MAGIC = 0x314d454d474f5349; // "ISOGMEM1"
constexpr size_t MAX_MEMBERS = 64;
constexpr size_t SLOTS = 64;             // sums under way at once
constexpr size_t EAGER_BYTES = 8 * 1024; // vectors up to here are copied into the head
constexpr size_t HEAD_BYTES = 1 << 20;
constexpr size_t MIN_BLOCK_FLOATS = 4 * 1024;
constexpr size_t MAX_BLOCK_FLOATS = 32 * 1024;
constexpr int SLICE_MS = 20; // between looks at whether the others live

enum Operation : uint32_t { SUM = 0, REDUCE = 1, BROADCAST = 2 }; // into all; into the first; from the first
enum Outcome { DONE = 0, PENDING = 1, GONE = 2, DISAGREE = 3, TIMED_OUT = 4, CLOSED = 5, WORN_OUT = 6 };

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

struct Arena {
  uint8_t* base = nullptr;
  size_t capacity = 0, used = 0;
};

struct Peer {
  uint8_t* base = nullptr;
  int pidfd = -1;
  pid_t pid = 0;
  Head* head() const { return reinterpret_cast<Head*>(base); }
  float* data() const { return reinterpret_cast<float*>(base + HEAD_BYTES); }
};

struct Member {
  std::shared_ptr<Arena> arena;
  int fd = -1;
  size_t size = 0;
  uint64_t nonce = 0;
  uint32_t run = 0, generation = 0, rank = 0;
  uint8_t* own = nullptr;
  size_t self = 0; // among the members of this host
  std::vector<Peer> peers;
  std::atomic<bool> connected{false}, direct{false}, closed{false};
  std::mutex running;
  uint32_t posted = 0, worked = 0, next = 0; // numbers of sums; `running` held
  int culprit = -1;
  Outcome failed = DONE;
  unsigned spins = 2000;

  ~Member() {
    for (size_t i = 0; i < peers.size(); i++) {
      if (peers[i].base && i != self) munmap(peers[i].base, size);
      if (peers[i].pidfd >= 0) close(peers[i].pidfd);
    }
    if (own) munmap(own, size);
    if (fd >= 0) close(fd);
  }
  Head* shared() const { return peers[0].head(); }
};

void futexWait(std::atomic<uint32_t>* word, uint32_t seen, int ms) {
  timespec limit{ms / 1000, (ms % 1000) * 1000000L};
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAIT, seen, &limit, nullptr, 0);
}

void signalAll(Head* head) {
  head->events.fetch_add(1);
  if (head->sleepers.load() > 0) syscall(SYS_futex, reinterpret_cast<uint32_t*>(&head->events), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
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

// ---- N-API ----

std::mutex registry;
std::unordered_map<int32_t, std::shared_ptr<Arena>> arenas;
std::unordered_map<int32_t, std::shared_ptr<Member>> members;
int32_t lastHandle = 0;

struct Fault {
  std::string what;
};

[[noreturn]] void fault(const std::string& what, int error = 0) { throw Fault{error ? what + ": " + strerror(error) : what}; }

struct Call {
  napi_env env;
  napi_value values[12];
  size_t count = 12;
  Call(napi_env e, napi_callback_info info) : env(e) { napi_get_cb_info(env, info, &count, values, nullptr, nullptr); }
  double number(size_t i) const {
    double value = 0;
    if (i >= count || napi_get_value_double(env, values[i], &value) != napi_ok) fault("argument " + std::to_string(i) + " must be a number");
    return value;
  }
  std::string text(size_t i) const {
    char buffer[128];
    size_t length = 0;
    if (i >= count || napi_get_value_string_utf8(env, values[i], buffer, sizeof buffer, &length) != napi_ok) fault("argument must be a string");
    return {buffer, length};
  }
  float* floats(size_t i, size_t& length) const {
    napi_typedarray_type type;
    void* data = nullptr;
    if (i >= count || napi_get_typedarray_info(env, values[i], &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_float32_array)
      fault("argument " + std::to_string(i) + " must be a Float32Array");
    return static_cast<float*>(data);
  }
  std::shared_ptr<Arena> arena(size_t i) const {
    std::lock_guard<std::mutex> lock(registry);
    const auto found = arenas.find(int32_t(number(i)));
    if (found == arenas.end()) fault("no such arena");
    return found->second;
  }
  std::shared_ptr<Member> member(size_t i) const {
    std::lock_guard<std::mutex> lock(registry);
    const auto found = members.find(int32_t(number(i)));
    if (found == members.end()) fault("no such member");
    return found->second;
  }
  std::shared_ptr<Member> memberOrNone(size_t i) const {
    std::lock_guard<std::mutex> lock(registry);
    const auto found = members.find(int32_t(number(i)));
    return found == members.end() ? nullptr : found->second;
  }
  napi_value give(double value) const {
    napi_value result;
    napi_create_double(env, value, &result);
    return result;
  }
};

template <napi_value (*Function)(Call&)> napi_value guarded(napi_env env, napi_callback_info info) {
  Call call(env, info);
  try {
    return Function(call);
  } catch (const Fault& thrown) {
    napi_throw_error(env, nullptr, thrown.what.c_str());
  } catch (const std::exception& thrown) {
    napi_throw_error(env, nullptr, thrown.what());
  }
  return nullptr;
}

size_t pages(size_t bytes) { return (bytes + 4095) / 4096 * 4096; }

// createArena(capacityBytes) -> arena
napi_value createArena(Call& call) {
  auto arena = std::make_shared<Arena>();
  arena->capacity = pages(size_t(call.number(0)));
  void* base = mmap(nullptr, arena->capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) fault("no addresses for the arena", errno);
  arena->base = static_cast<uint8_t*>(base);
  std::lock_guard<std::mutex> lock(registry);
  arenas[++lastHandle] = arena;
  return call.give(lastHandle);
}

// allocate(arena, bytes) -> offset in the arena, a multiple of 64
napi_value allocate(Call& call) {
  const auto arena = call.arena(0);
  const size_t bytes = (size_t(call.number(1)) + 63) / 64 * 64;
  std::lock_guard<std::mutex> lock(registry);
  if (bytes > arena->capacity - arena->used) fault("the arena is full");
  const size_t offset = arena->used;
  arena->used += bytes;
  return call.give(double(offset));
}

// view(arena, offset, bytes) -> ArrayBuffer over that memory, which is never given back
napi_value view(Call& call) {
  const auto arena = call.arena(0);
  const size_t offset = size_t(call.number(1)), bytes = size_t(call.number(2));
  if (offset > arena->capacity || bytes > arena->capacity - offset) fault("outside the arena");
  napi_value result;
  if (napi_create_external_arraybuffer(call.env, arena->base + offset, bytes, nullptr, nullptr, &result) != napi_ok)
    fault("this Node takes no memory from outside");
  return result;
}

// open(arena, run, generation, rank, nonce) -> member: makes the segment
napi_value openMember(Call& call) {
  auto m = std::make_shared<Member>();
  m->arena = call.arena(0);
  m->run = uint32_t(call.number(1));
  m->generation = uint32_t(call.number(2));
  m->rank = uint32_t(call.number(3));
  m->nonce = uint64_t(call.number(4));
  m->size = HEAD_BYTES + m->arena->capacity;
  char name[64];
  snprintf(name, sizeof name, "isoerg-%08x-%u-%u", m->run, m->generation, m->rank);
  m->fd = int(syscall(SYS_memfd_create, name, 1u /* close on exec */ | 2u /* allow sealing */));
  if (m->fd < 0) fault("no anonymous file", errno);
  if (ftruncate(m->fd, off_t(m->size)) != 0) fault("an anonymous file can't be that long", errno);
  fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL); // nobody can cut it under the others
  void* own = mmap(nullptr, m->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->fd, 0);
  if (own == MAP_FAILED) fault("no addresses for the segment", errno);
  m->own = static_cast<uint8_t*>(own);
  Head* head = reinterpret_cast<Head*>(m->own);
  head->nonce = m->nonce;
  head->size = m->size;
  head->run = m->run;
  head->generation = m->generation;
  head->rank = m->rank;
  head->slots = SLOTS;
  std::atomic_thread_fence(std::memory_order_release);
  head->magic = MAGIC;
  std::lock_guard<std::mutex> lock(registry);
  members[++lastHandle] = m;
  return call.give(lastHandle);
}

// fileOf(member) -> the segment's file descriptor, to be told to the others
napi_value fileOf(Call& call) { return call.give(call.member(0)->fd); }

// attach(member, index, count, pid, fd, nonce, rank): maps the segment of another member of this host
napi_value attach(Call& call) {
  const auto m = call.member(0);
  const size_t index = size_t(call.number(1)), count = size_t(call.number(2));
  if (count > MAX_MEMBERS || index >= count) fault("more processes on one host than can share its memory");
  const uint64_t nonce = uint64_t(call.number(5));
  const uint32_t rank = uint32_t(call.number(6));
  m->peers.resize(count);
  Peer& peer = m->peers[index];
  peer.pid = pid_t(call.number(3));
  if (rank == m->rank) {
    m->self = index;
    peer.base = m->own;
    return nullptr;
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fd/%d", int(peer.pid), int(call.number(4)));
  const int fd = ::open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) fault(std::string("the segment of rank ") + std::to_string(rank) + " can't be opened", errno);
  struct stat about {};
  const int seals = fcntl(fd, F_GET_SEALS);
  if (fstat(fd, &about) != 0 || size_t(about.st_size) != m->size || seals < 0 || !(seals & F_SEAL_SHRINK)) {
    ::close(fd);
    fault("the segment of rank " + std::to_string(rank) + " is of another size or can be cut");
  }
  void* base = mmap(nullptr, m->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  const int error = errno;
  ::close(fd);
  if (base == MAP_FAILED) fault("no addresses for the segment of a peer", error);
  peer.base = static_cast<uint8_t*>(base);
#ifdef SYS_pidfd_open
  peer.pidfd = int(syscall(SYS_pidfd_open, peer.pid, 0));
#endif
  const Head* head = peer.head();
  if (head->magic != MAGIC || head->nonce != nonce || head->run != m->run || head->generation != m->generation || head->rank != rank)
    fault("the segment of rank " + std::to_string(rank) + " is not of this generation");
  return nullptr;
}

// connect(member, direct): all are attached everywhere, so sums may begin; `direct` where these are all ranks of the run
napi_value connect(Call& call) {
  const auto m = call.member(0);
  if (m->peers.empty()) fault("nobody is attached");
  for (const Peer& peer : m->peers)
    if (!peer.base) fault("a member is not attached");
  if (std::thread::hardware_concurrency() < m->peers.size()) m->spins = 50; // who spins keeps from running whom it waits for
  m->direct.store(call.number(1) != 0);
  m->connected.store(true);
  return nullptr;
}

// adopt(member): from now on the arena's memory is this segment's data. Everything in it becomes zero.
// Nothing is done where the member is closed: its generation is over, and another is adopted next.
napi_value adopt(Call& call) {
  const auto m = call.memberOrNone(0);
  if (!m) return nullptr;
  if (m->fd < 0) fault("the member is closed");
  void* at = mmap(m->arena->base, m->arena->capacity, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, m->fd, HEAD_BYTES);
  if (at == MAP_FAILED) fault("the segment can't be put in the arena's place", errno);
  return nullptr;
}

// renew(arena): from now on the arena's memory is this process's own, whatever it was, and zero
napi_value renew(Call& call) {
  const auto arena = call.arena(0);
  void* at = mmap(arena->base, arena->capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) fault("the arena can't be renewed", errno);
  return nullptr;
}

// isDirect(member) -> 1 where the thread that has the values may sum them itself
napi_value isDirect(Call& call) {
  const auto m = call.memberOrNone(0);
  return call.give(m && m->direct.load() ? 1 : 0);
}

// post(member, values, operation, step, bucket, timeoutMs) -> outcome
napi_value postSum(Call& call) {
  const auto m = call.memberOrNone(0);
  if (!m) return call.give(CLOSED);
  size_t length = 0;
  float* values = call.floats(1, length);
  if (!m->connected.load()) fault("a sum before all are connected");
  const uint8_t* from = reinterpret_cast<uint8_t*>(values);
  if (from < m->arena->base || from + length * sizeof(float) > m->arena->base + m->arena->capacity) fault("only memory of the arena can be summed");
  return call.give(post(*m, values, length, uint32_t(call.number(2)), call.number(3), uint32_t(call.number(4)), call.number(5)));
}

// finish(member, timeoutMs) -> outcome; blocks this thread
napi_value finishSums(Call& call) {
  const auto m = call.memberOrNone(0);
  if (!m) return call.give(CLOSED);
  if (!m->connected.load()) fault("a sum before all are connected");
  return call.give(finish(*m, call.number(1)));
}

struct Work { // without a member where that is closed
  std::shared_ptr<Member> member;
  double timeoutMs;
  Outcome outcome;
  napi_deferred deferred;
  napi_async_work work;
};

// finishLater(member, timeoutMs) -> Promise of the outcome; waits in a thread of libuv's pool
napi_value finishLater(Call& call) {
  const auto m = call.memberOrNone(0);
  auto* work = new Work{m, call.number(1), CLOSED, nullptr, nullptr};
  napi_value promise, name;
  napi_create_promise(call.env, &work->deferred, &promise);
  napi_create_string_utf8(call.env, "isoerg.sum", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(
      call.env, nullptr, name,
      [](napi_env, void* data) {
        auto* self = static_cast<Work*>(data);
        if (self->member) self->outcome = finish(*self->member, self->timeoutMs);
      },
      [](napi_env env, napi_status, void* data) {
        auto* self = static_cast<Work*>(data);
        napi_value outcome;
        napi_create_double(env, self->outcome, &outcome);
        napi_resolve_deferred(env, self->deferred, outcome);
        napi_delete_async_work(env, self->work);
        delete self;
      },
      work, &work->work);
  napi_queue_async_work(call.env, work->work);
  return promise;
}

// culprit(member) -> index of the member at fault, -1 where none is
napi_value culprit(Call& call) {
  const auto m = call.memberOrNone(0);
  return call.give(m ? m->culprit : -1);
}

// close(member): its pending and later waits end, the others are told that nothing more comes, and it is forgotten
napi_value closeMember(Call& call) {
  const auto m = call.memberOrNone(0);
  if (!m) return nullptr;
  m->closed.store(true);
  if (m->connected.load()) {
    m->shared()->standing[m->self].closed.store(1);
    signalAll(m->shared());
  }
  std::lock_guard<std::mutex> lock(registry);
  members.erase(int32_t(call.number(0)));
  return nullptr;
}

// add(target, source)
napi_value add(Call& call) {
  size_t length = 0, other = 0;
  float* target = call.floats(0, length);
  const float* source = call.floats(1, other);
  if (length != other) fault("vectors of different lengths");
  addTo(target, source, length);
  return nullptr;
}

} // namespace

NAPI_MODULE_INIT() {
  const struct {
    const char* name;
    napi_callback function;
  } functions[] = {
      {"createArena", guarded<createArena>}, {"allocate", guarded<allocate>},       {"view", guarded<view>},
      {"open", guarded<openMember>},         {"fileOf", guarded<fileOf>},           {"attach", guarded<attach>},
      {"connect", guarded<connect>},         {"adopt", guarded<adopt>},             {"renew", guarded<renew>},             {"isDirect", guarded<isDirect>},
      {"post", guarded<postSum>},            {"finish", guarded<finishSums>},       {"finishLater", guarded<finishLater>},
      {"culprit", guarded<culprit>},         {"close", guarded<closeMember>},
      {"add", guarded<add>},
  };
  for (const auto& [name, function] : functions) {
    napi_value value;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value);
    napi_set_named_property(env, exports, name, value);
  }
  return exports;
}
