// Memory that the processes of a host share, as JavaScript sees it: arenas, segments, and the sums in them.
#include "add.h"
#include "call.h"
#include "host_sums.h"
#include "later.h"
#include "modules.h"
#include "registry.h"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <memory>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace isoerg {

namespace {

Registry<Arena> arenas("arena");
Registry<Member> members("member");

size_t pages(size_t bytes) { return (bytes + 4095) / 4096 * 4096; }

// createArena(capacityBytes) -> arena
napi_value createArena(Call& call) {
  auto arena = std::make_shared<Arena>();
  arena->capacity = pages(size_t(call.number(0)));
  void* base = mmap(nullptr, arena->capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) fault("no addresses for the arena", errno);
  arena->base = static_cast<uint8_t*>(base);
  return call.give(arenas.put(arena));
}

// allocate(arena, bytes) -> offset in the arena, a multiple of 64
napi_value allocate(Call& call) {
  const auto arena = arenas.get(int32_t(call.number(0)));
  const size_t bytes = (size_t(call.number(1)) + 63) / 64 * 64;
  std::lock_guard<std::mutex> lock(arena->allocating);
  if (bytes > arena->capacity - arena->used) fault("the arena is full");
  const size_t offset = arena->used;
  arena->used += bytes;
  return call.give(double(offset));
}

// view(arena, offset, bytes) -> ArrayBuffer over that memory, which is never given back
napi_value view(Call& call) {
  const auto arena = arenas.get(int32_t(call.number(0)));
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
  m->arena = arenas.get(int32_t(call.number(0)));
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
  return call.give(members.put(m));
}

// fileOf(member) -> the segment's file descriptor, to be told to the others
napi_value fileOf(Call& call) { return call.give(members.get(int32_t(call.number(0)))->fd); }

// attach(member, index, count, pid, fd, nonce, rank): maps the segment of another member of this host
napi_value attach(Call& call) {
  const auto m = members.get(int32_t(call.number(0)));
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
  const auto m = members.get(int32_t(call.number(0)));
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
  const auto m = members.find(int32_t(call.number(0)));
  if (!m) return nullptr;
  if (m->fd < 0) fault("the member is closed");
  void* at = mmap(m->arena->base, m->arena->capacity, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, m->fd, HEAD_BYTES);
  if (at == MAP_FAILED) fault("the segment can't be put in the arena's place", errno);
  return nullptr;
}

// renew(arena): from now on the arena's memory is this process's own, whatever it was, and zero
napi_value renew(Call& call) {
  const auto arena = arenas.get(int32_t(call.number(0)));
  void* at = mmap(arena->base, arena->capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) fault("the arena can't be renewed", errno);
  return nullptr;
}

// isDirect(member) -> 1 where the thread that has the values may sum them itself
napi_value isDirect(Call& call) {
  const auto m = members.find(int32_t(call.number(0)));
  return call.give(m && m->direct.load() ? 1 : 0);
}

// post(member, values, operation, step, bucket, timeoutMs) -> outcome
napi_value postSum(Call& call) {
  const auto m = members.find(int32_t(call.number(0)));
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
  const auto m = members.find(int32_t(call.number(0)));
  if (!m) return call.give(CLOSED);
  if (!m->connected.load()) fault("a sum before all are connected");
  return call.give(finish(*m, call.number(1)));
}

// finishLater(member, timeoutMs) -> Promise of the outcome; waits in a thread of libuv's pool
napi_value finishLater(Call& call) {
  const auto m = members.find(int32_t(call.number(0)));
  const double timeoutMs = call.number(1);
  return later(call, [m, timeoutMs] { return m ? finish(*m, timeoutMs) : CLOSED; });
}

// culprit(member) -> index of the member at fault, -1 where none is
napi_value culprit(Call& call) {
  const auto m = members.find(int32_t(call.number(0)));
  return call.give(m ? m->culprit : -1);
}

// close(member): its pending and later waits end, the others are told that nothing more comes, and it is forgotten
napi_value closeMember(Call& call) {
  const auto m = members.find(int32_t(call.number(0)));
  if (!m) return nullptr;
  m->closed.store(true);
  if (m->connected.load()) {
    m->shared()->standing[m->self].closed.store(1);
    signalAll(m->shared());
  }
  members.forget(int32_t(call.number(0)));
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

void defineHostMemory(napi_env env, napi_value exports) {
  const NativeFunction functions[] = {
      {"createArena", guarded<createArena>},
      {"allocate", guarded<allocate>},
      {"view", guarded<view>},
      {"open", guarded<openMember>},
      {"fileOf", guarded<fileOf>},
      {"attach", guarded<attach>},
      {"connect", guarded<connect>},
      {"adopt", guarded<adopt>},
      {"renew", guarded<renew>},
      {"isDirect", guarded<isDirect>},
      {"post", guarded<postSum>},
      {"finish", guarded<finishSums>},
      {"finishLater", guarded<finishLater>},
      {"culprit", guarded<culprit>},
      {"close", guarded<closeMember>},
      {"add", guarded<add>},
  };
  define(env, exports, functions);
}

} // namespace isoerg
