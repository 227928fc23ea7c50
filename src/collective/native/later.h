// A wait that a thread of libuv's pool does, while JavaScript goes on.
#pragma once

#include "call.h"
#include "outcome.h"

#include <functional>

namespace isoerg {

struct Later {
  std::function<Outcome()> wait;
  Outcome outcome = PENDING;
  napi_deferred deferred = nullptr;
  napi_async_work work = nullptr;
  napi_ref kept = nullptr;
};

// A promise of what `wait` returns. `kept` is not collected before that: what the wait writes to.
inline napi_value later(const Call& call, std::function<Outcome()> wait, napi_value kept = nullptr) {
  auto* later = new Later;
  later->wait = std::move(wait);
  napi_value promise, name;
  napi_create_promise(call.env, &later->deferred, &promise);
  if (kept) napi_create_reference(call.env, kept, 1, &later->kept);
  napi_create_string_utf8(call.env, "isoerg.sum", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(
      call.env, nullptr, name,
      [](napi_env, void* data) {
        auto* self = static_cast<Later*>(data);
        self->outcome = self->wait();
      },
      [](napi_env env, napi_status, void* data) {
        auto* self = static_cast<Later*>(data);
        napi_value outcome;
        napi_create_double(env, self->outcome, &outcome);
        napi_resolve_deferred(env, self->deferred, outcome);
        if (self->kept) napi_delete_reference(env, self->kept);
        napi_delete_async_work(env, self->work);
        delete self;
      },
      later, &later->work);
  napi_queue_async_work(call.env, later->work);
  return promise;
}

} // namespace isoerg
