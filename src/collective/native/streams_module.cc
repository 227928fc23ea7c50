// Sums over TCP, as JavaScript sees them: connections, programs, and a thread for sums that take longer than a moment.
#include "call.h"
#include "modules.h"
#include "registry.h"
#include "streams.h"

#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <thread>

namespace isoerg {

namespace {

// The thread that goes on with sums which the JavaScript thread began. It starts with the first of them and ends with the streams.
struct Driven {
  Streams streams;
  std::mutex lock;
  std::condition_variable asked;
  bool wanted = false, over = false;
  // Of the JavaScript thread.
  napi_threadsafe_function reply = nullptr;
  napi_deferred deferred = nullptr;
  napi_ref kept = nullptr; // the vector that is being summed

  Driven(uint32_t run, uint32_t generation, uint32_t rank, int silenceMs) : streams(run, generation, rank, silenceMs) {}
};

Registry<Driven> opened("streams");

void work(std::shared_ptr<Driven> d) {
  std::unique_lock<std::mutex> held(d->lock);
  for (;;) {
    d->asked.wait(held, [&] { return d->wanted || d->over; });
    if (!d->wanted) break;
    d->wanted = false;
    held.unlock();
    const Outcome outcome = d->streams.finish();
    const napi_status told =
        napi_call_threadsafe_function(d->reply, reinterpret_cast<void*>(intptr_t(outcome)), napi_tsfn_nonblocking);
    if (told == napi_closing) return; // the JavaScript thread has ended
    held.lock();
  }
  napi_release_threadsafe_function(d->reply, napi_tsfn_release);
}

void tell(napi_env env, napi_value, void* context, void* data) {
  if (!env) return;
  Driven& d = **static_cast<std::shared_ptr<Driven>*>(context);
  napi_value outcome;
  napi_create_double(env, double(reinterpret_cast<intptr_t>(data)), &outcome);
  napi_unref_threadsafe_function(env, d.reply);
  napi_delete_reference(env, d.kept);
  napi_resolve_deferred(env, d.deferred, outcome);
}

void startThread(napi_env env, const std::shared_ptr<Driven>& d) {
  napi_value name;
  napi_create_string_utf8(env, "isoerg.stream", NAPI_AUTO_LENGTH, &name);
  auto* context = new std::shared_ptr<Driven>(d);
  const auto drop = [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<Driven>*>(data); };
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, context, drop, context, tell, &d->reply) != napi_ok) {
    delete context;
    fault("no way back from a thread of the streams");
  }
  napi_unref_threadsafe_function(env, d->reply);
  std::thread(work, d).detach();
}

// A program is a list of numbers (../native-streams.ts): of each stage its round, to, from, order, the counts of its pieces, and then those, in values.
std::vector<Stage> readProgram(const Streams& streams, const double* numbers, size_t count, size_t length) {
  std::vector<Stage> stages;
  size_t at = 0;
  const auto next = [&] {
    if (at >= count) fault("a program that ends too early");
    return numbers[at++];
  };
  const auto range = [&](bool isReceived) {
    const double from = next(), values = next();
    const bool add = isReceived && next() != 0;
    if (!(from >= 0 && values >= 0 && from + values <= double(length))) fault("a program that leaves its vector");
    return Piece{size_t(from) * sizeof(float), size_t(values) * sizeof(float), add};
  };
  while (at < count) {
    Stage stage;
    stage.round = uint32_t(next());
    stage.to = int(next());
    stage.from = int(next());
    stage.order = Order(uint32_t(next()));
    const size_t numSent = size_t(next()), numReceived = size_t(next());
    for (size_t i = 0; i < numSent; i++) stage.send.push_back(range(false));
    for (size_t i = 0; i < numReceived; i++) stage.receive.push_back(range(true));
    if (stage.to >= 0 && !streams.has(stage.to, true)) fault("a program that sends where no connection goes");
    if (stage.from >= 0 && !streams.has(stage.from, false)) fault("a program that receives where no connection comes from");
    if (stage.order > GUARDED || (stage.order == CHAINED && stage.send.empty())) fault("a program in no order");
    stages.push_back(std::move(stage));
  }
  return stages;
}

// openStreams(run, generation, rank, silenceMs) -> streams
napi_value openStreams(Call& call) {
  return call.give(opened.put(
      std::make_shared<Driven>(uint32_t(call.number(0)), uint32_t(call.number(1)), uint32_t(call.number(2)), int(call.number(3)))));
}

// addStream(streams, rank, out, fd) -> 1 where the connection was taken; the descriptor stays the caller's
napi_value addStream(Call& call) {
  const auto d = opened.get(int32_t(call.number(0)));
  return call.give(d->streams.connect(uint32_t(call.number(1)), call.number(2) != 0, int(call.number(3))) ? 1 : 0);
}

// beginStreamSum(streams, values, program, step, bucket, timeoutMs, maxSpinMs) -> outcome; PENDING: finishStreamSum has to follow
napi_value beginStreamSum(Call& call) {
  const auto d = opened.find(int32_t(call.number(0)));
  if (!d) return call.give(CLOSED);
  Sum sum;
  sum.values = reinterpret_cast<uint8_t*>(call.floats(1, sum.length));
  size_t count = 0;
  const double* program = call.doubles(2, count);
  sum.stages = readProgram(d->streams, program, count, sum.length);
  sum.step = uint64_t(call.number(3));
  sum.bucket = uint32_t(call.number(4));
  sum.timeoutMs = call.number(5);
  sum.maxSpinMs = call.number(6);
  return call.give(d->streams.begin(std::move(sum)));
}

// finishStreamSum(streams, values) -> Promise of the outcome
napi_value finishStreamSum(Call& call) {
  const auto d = opened.get(int32_t(call.number(0)));
  if (!d->reply) startThread(call.env, d);
  napi_value promise;
  napi_create_promise(call.env, &d->deferred, &promise);
  napi_create_reference(call.env, call.values[1], 1, &d->kept);
  napi_ref_threadsafe_function(call.env, d->reply);
  std::lock_guard<std::mutex> held(d->lock);
  d->wanted = true;
  d->asked.notify_one();
  return promise;
}

// streamFault(streams) -> the rank that sent nothing or the wrong thing, -2 - rank for one that took nothing, -1 for none
napi_value streamFault(Call& call) { return call.give(opened.get(int32_t(call.number(0)))->streams.culprit()); }

// streamHeard(streams) -> the header that came where another was due
napi_value streamHeard(Call& call) {
  const StageHeader heard = opened.get(int32_t(call.number(0)))->streams.unexpected();
  void* data = nullptr;
  napi_value buffer;
  napi_create_arraybuffer(call.env, sizeof heard, &data, &buffer);
  memcpy(data, &heard, sizeof heard);
  return buffer;
}

// loseStreams(streams): ends the sum that is under way once nothing comes any more
napi_value loseStreams(Call& call) {
  const auto d = opened.find(int32_t(call.number(0)));
  if (d) d->streams.lose();
  return nullptr;
}

// closeStreams(streams): pending and later sums end, and connections close.
napi_value closeStreams(Call& call) {
  const auto d = opened.find(int32_t(call.number(0)));
  if (!d) return nullptr;
  d->streams.close();
  std::lock_guard<std::mutex> held(d->lock);
  d->over = true;
  d->asked.notify_one();
  opened.forget(int32_t(call.number(0)));
  return nullptr;
}

} // namespace

void defineStreams(napi_env env, napi_value exports) {
  const NativeFunction functions[] = {
      {"openStreams", guarded<openStreams>},       {"addStream", guarded<addStream>},
      {"beginStreamSum", guarded<beginStreamSum>}, {"finishStreamSum", guarded<finishStreamSum>},
      {"streamFault", guarded<streamFault>},       {"streamHeard", guarded<streamHeard>},
      {"loseStreams", guarded<loseStreams>},       {"closeStreams", guarded<closeStreams>},
  };
  define(env, exports, functions);
}

} // namespace isoerg
