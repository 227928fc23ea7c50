#include "streams.h"

#include "add.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace isoerg {

namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values and headers travel little-endian");

constexpr uint32_t MAGIC = 0x534f5349; // "ISOS", read as a little-endian word
constexpr uint16_t VERSION = 1;
constexpr size_t HEADER = sizeof(StageHeader);
// What is received at a time to be added, so that it stays in a cache, and sent at a time, so that the other direction has its turn. A quarter of
// each made a sum of 1 MiB take half as long again (bench/LOG.md).
constexpr size_t SCRATCH_BYTES = 512 * 1024;
constexpr size_t SEND_BYTES = 1024 * 1024;
constexpr double MIN_SPIN_MS = 0.002;
constexpr double BUDGET_MS = 2;                // of the thread that asks: short sums need no other one
constexpr double DRAIN_MS = 50;                // after a neighbour's loss: how long nothing may come
constexpr int MAX_PIECES = 8;

using Clock = std::chrono::steady_clock;

double since(Clock::time_point then) { return std::chrono::duration<double, std::milli>(Clock::now() - then).count(); }

// How a rank at fault is told when it did not take, rather than not send.
int outward(int rank) { return -2 - rank; }

size_t totalOf(const std::vector<Piece>& pieces) {
  size_t total = 0;
  for (const Piece& piece : pieces) total += piece.bytes;
  return total;
}

} // namespace

void Cursor::pass(const std::vector<Piece>& pieces, size_t count) {
  bytes += count;
  at += count;
  while (piece < pieces.size() && at >= pieces[piece].bytes) at -= pieces[piece++].bytes;
}

Streams::Streams(uint32_t r, uint32_t g, uint32_t k, int s) : run(r), generation(g), rank(k), silenceMs(s), wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  memory.reset(new uint8_t[SCRATCH_BYTES + 64]);
  scratch = memory.get() + (64 - reinterpret_cast<uintptr_t>(memory.get()) % 64) % 64;
}

Streams::~Streams() {
  for (const auto& [peer, fd] : outs) ::close(fd);
  for (const auto& [peer, fd] : ins) ::close(fd);
  if (wake >= 0) ::close(wake);
}

bool Streams::connect(uint32_t peer, bool isOut, int fd) {
  std::lock_guard<std::mutex> held(driving);
  if (closed.load() || has(int(peer), isOut)) return false;
  const int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (own < 0) return false;
  const int on = 1;
  setsockopt(own, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // Asks after a connection that is silent; not TCP_USER_TIMEOUT, which would also end one whose reader is late to a sum.
  const int third = std::max(1, silenceMs / 3000), twice = 2;
  setsockopt(own, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(own, IPPROTO_TCP, TCP_KEEPIDLE, &third, sizeof third);
  setsockopt(own, IPPROTO_TCP, TCP_KEEPINTVL, &third, sizeof third);
  setsockopt(own, IPPROTO_TCP, TCP_KEEPCNT, &twice, sizeof twice);
  fcntl(own, F_SETFL, fcntl(own, F_GETFL) | O_NONBLOCK);
  (isOut ? outs : ins)[int(peer)] = own;
  return true;
}

bool Streams::has(int peer, bool isOut) const { return (isOut ? outs : ins).count(peer) > 0; }

StageHeader Streams::headerOf(size_t bytes, uint32_t sender) const {
  return {MAGIC, VERSION, uint16_t(sum.stages[sum.stage].round), run, generation, sum.step, sum.length, bytes, sum.bucket, sender};
}

Outcome Streams::failWith(Outcome outcome, int who) {
  if (failed == DONE) {
    failed = closed.load() ? CLOSED : outcome; // connections that were closed here look like lost ones
    fault.store(who);
  }
  return failed;
}

void Streams::beginStage() {
  const Stage& stage = sum.stages[sum.stage];
  sum.sending = Cursor{};
  sum.receiving = Cursor{};
  sum.sending.total = stage.to < 0 ? 0 : totalOf(stage.send);
  sum.receiving.total = stage.from < 0 ? 0 : totalOf(stage.receive);
  if (stage.to < 0) sum.sending.header = HEADER;
  if (stage.from < 0) sum.receiving.header = HEADER;
  sum.sending.pass(stage.send, 0); // over what is empty
  sum.receiving.pass(stage.receive, 0);
  sum.carried = 0;
  told = headerOf(sum.sending.total, rank);
}

size_t Streams::sendable() const {
  const Stage& stage = sum.stages[sum.stage];
  const size_t limit = stage.order == CHAINED ? std::min(sum.sending.total, stage.send[0].bytes + sum.receiving.bytes) : sum.sending.total;
  return limit - sum.sending.bytes;
}

// Also counts what was read of an unfinished value: it lies in the scratch.
size_t Streams::receivable() const {
  const Stage& stage = sum.stages[sum.stage];
  const size_t limit = stage.order == GUARDED ? std::min(sum.receiving.total, sum.sending.bytes / sizeof(float) * sizeof(float)) : sum.receiving.total;
  return limit - sum.receiving.bytes;
}

Streams::Move Streams::sendSome() {
  Cursor& cursor = sum.sending;
  const Stage& stage = sum.stages[sum.stage];
  size_t room = std::min(sendable(), SEND_BYTES);
  if (cursor.header == HEADER && room == 0) return Move::NONE;
  iovec parts[MAX_PIECES + 1];
  int count = 0;
  const size_t ofHeader = HEADER - cursor.header;
  if (ofHeader > 0) parts[count++] = {reinterpret_cast<uint8_t*>(&told) + cursor.header, ofHeader};
  size_t at = cursor.at;
  for (size_t piece = cursor.piece; room > 0 && count <= MAX_PIECES && piece < stage.send.size(); piece++, at = 0) {
    const size_t bytes = std::min(room, stage.send[piece].bytes - at);
    if (bytes > 0) parts[count++] = {sum.values + stage.send[piece].from + at, bytes};
    room -= bytes;
  }
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = size_t(count);
  const ssize_t sent = sendmsg(outs.at(stage.to), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ENOBUFS) return Move::NONE;
    failWith(GONE, outward(stage.to));
    return Move::FAILED;
  }
  const size_t header = std::min(size_t(sent), ofHeader);
  cursor.header += header;
  cursor.pass(stage.send, size_t(sent) - header);
  return sent > 0 ? Move::SOME : Move::NONE;
}

bool Streams::accept() {
  const Stage& stage = sum.stages[sum.stage];
  const StageHeader due = headerOf(sum.receiving.total, uint32_t(stage.from));
  if (memcmp(&due, &heard, HEADER) == 0) return true;
  failWith(DISAGREE, stage.from);
  return false;
}

Streams::Move Streams::receiveSome() {
  Cursor& cursor = sum.receiving;
  const Stage& stage = sum.stages[sum.stage];
  const size_t room = receivable();
  if (cursor.header == HEADER && room == 0) return Move::NONE;
  iovec parts[2];
  int count = 0;
  const size_t ofHeader = HEADER - cursor.header;
  if (ofHeader > 0) parts[count++] = {reinterpret_cast<uint8_t*>(&heard) + cursor.header, ofHeader};
  const Piece* piece = cursor.piece < stage.receive.size() ? &stage.receive[cursor.piece] : nullptr;
  if (piece && room > 0) {
    const size_t bytes = std::min(room, piece->bytes - cursor.at);
    if (piece->add) parts[count++] = {scratch + sum.carried, std::min(bytes, SCRATCH_BYTES) - sum.carried};
    else parts[count++] = {sum.values + piece->from + cursor.at, bytes};
  }
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = size_t(count);
  const ssize_t got = recvmsg(ins.at(stage.from), &message, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return Move::NONE;
  if (got <= 0) {
    failWith(GONE, stage.from);
    return Move::FAILED;
  }
  const size_t header = std::min(size_t(got), ofHeader);
  cursor.header += header;
  if (header > 0 && cursor.header == HEADER && !accept()) return Move::FAILED;
  const size_t bytes = size_t(got) - header;
  if (bytes == 0) return Move::SOME;
  if (!piece->add) {
    cursor.pass(stage.receive, bytes);
    return Move::SOME;
  }
  const size_t inScratch = sum.carried + bytes, whole = inScratch / sizeof(float) * sizeof(float);
  addTo(reinterpret_cast<float*>(sum.values + piece->from + cursor.at), reinterpret_cast<const float*>(scratch), whole / sizeof(float));
  sum.carried = inScratch - whole;
  memmove(scratch, scratch + whole, sum.carried);
  cursor.pass(stage.receive, whole);
  return Move::SOME;
}

void Streams::sleepUntilReady(double ms) {
  const Stage& stage = sum.stages[sum.stage];
  pollfd watched[3] = {{wake, POLLIN, 0}, {-1, 0, 0}, {-1, 0, 0}};
  if (sum.receiving.header < HEADER || receivable() > 0) watched[1] = {ins.at(stage.from), POLLIN, 0};
  if (sum.sending.header < HEADER || sendable() > 0) watched[2] = {outs.at(stage.to), POLLOUT, 0};
  const timespec limit{time_t(ms / 1000), long(std::fmod(ms, 1000) * 1e6)};
  if (ppoll(watched, 3, &limit, nullptr) > 0 && watched[0].revents) {
    uint64_t count;
    while (read(wake, &count, sizeof count) > 0) continue;
  }
}

// Until the sum is done, or `budgetMs` are over (0: for as long as it takes).
Outcome Streams::drive(double budgetMs) {
  const Clock::time_point begun = Clock::now();
  Clock::time_point moved = begun;
  bool isIdle = false;
  for (;;) {
    if (closed.load()) return failWith(CLOSED, -1);
    if (failed != DONE) return failed;
    while (sum.stage < sum.stages.size()) {
      const bool isThrough = sum.sending.header == HEADER && sum.receiving.header == HEADER && sum.sending.bytes == sum.sending.total &&
                             sum.receiving.bytes == sum.receiving.total;
      if (!isThrough) break;
      if (++sum.stage < sum.stages.size()) beginStage();
    }
    if (sum.stage == sum.stages.size()) {
      isActive = false;
      return DONE;
    }
    const Stage& stage = sum.stages[sum.stage];
    const Move out = stage.to < 0 ? Move::NONE : sendSome();
    const Move in = out == Move::FAILED || stage.from < 0 ? Move::NONE : receiveSome();
    if (out == Move::FAILED || in == Move::FAILED) continue;
    if (out == Move::SOME || in == Move::SOME) {
      // As long as to look again and again would have helped; where others want the processor, or the neighbour is slow, less and less.
      if (isIdle) spinMs = since(moved) < 2 * sum.maxSpinMs ? std::min(spinMs * 2, sum.maxSpinMs) : std::max(spinMs / 2, MIN_SPIN_MS);
      isIdle = false;
      if (budgetMs > 0 && since(begun) > budgetMs) return PENDING;
      continue;
    }
    if (!isIdle) {
      isIdle = true;
      moved = Clock::now();
    }
    const double idleMs = since(moved);
    if (idleMs < spinMs) continue;
    if (budgetMs > 0) {
      const double left = budgetMs - since(begun);
      if (left <= 0) return PENDING;
      sleepUntilReady(left);
      continue;
    }
    if (lost.load() && idleMs > DRAIN_MS) return failWith(GONE, -1);
    const bool isReceiving = sum.receiving.header < HEADER || sum.receiving.bytes < sum.receiving.total;
    if (idleMs > sum.timeoutMs) return failWith(TIMED_OUT, isReceiving ? stage.from : outward(stage.to));
    const double allowed = lost.load() ? std::min(DRAIN_MS, sum.timeoutMs) : sum.timeoutMs;
    sleepUntilReady(std::clamp(allowed - idleMs + 1, 1.0, 60'000.0));
  }
}

Outcome Streams::begin(Sum next) {
  if (closed.load()) return CLOSED;
  std::lock_guard<std::mutex> held(driving);
  if (failed != DONE) return failed;
  sum = std::move(next);
  isActive = true;
  if (!sum.stages.empty()) beginStage();
  return drive(BUDGET_MS);
}

Outcome Streams::finish() {
  std::lock_guard<std::mutex> held(driving);
  if (failed != DONE) return failed;
  return isActive ? drive(0) : DONE;
}

void Streams::close() {
  if (closed.exchange(true)) return;
  // What was sent still arrives, and then the end does.
  for (const auto& [peer, fd] : outs) ::shutdown(fd, SHUT_RDWR);
  for (const auto& [peer, fd] : ins) ::shutdown(fd, SHUT_RDWR);
  const uint64_t one = 1;
  if (write(wake, &one, sizeof one) < 0) return; // full: it is awake already
}

void Streams::lose() {
  lost.store(true);
  const uint64_t one = 1;
  if (write(wake, &one, sizeof one) < 0) return;
}

} // namespace isoerg
