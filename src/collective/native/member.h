// A process's part in the sums of its host, for one generation: its own segment, and those of the others, mapped.
//
// A process maps the data of its new segment over the same addresses, its arena, as that of the last one, so that a member which
// slept through the change goes on writing into memory that nobody else looks at.
#pragma once

#include "outcome.h"
#include "segment.h"

#include <memory>
#include <mutex>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>
#include <vector>

namespace isoerg {

struct Arena {
  uint8_t* base = nullptr;
  size_t capacity = 0, used = 0;
  std::mutex allocating;
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

} // namespace isoerg
