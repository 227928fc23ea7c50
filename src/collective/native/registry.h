// Objects by numbers, which all threads of the process know them by.
#pragma once

#include "call.h"

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace isoerg {

template <typename Kind> class Registry {
  const char* const name;
  std::mutex lock;
  std::unordered_map<int32_t, std::shared_ptr<Kind>> objects;
  int32_t last = 0;

public:
  explicit Registry(const char* kind) : name(kind) {}

  int32_t put(std::shared_ptr<Kind> object) {
    std::lock_guard<std::mutex> held(lock);
    objects[++last] = std::move(object);
    return last;
  }
  std::shared_ptr<Kind> find(int32_t handle) {
    std::lock_guard<std::mutex> held(lock);
    const auto found = objects.find(handle);
    return found == objects.end() ? nullptr : found->second;
  }
  std::shared_ptr<Kind> get(int32_t handle) {
    auto object = find(handle);
    if (!object) fault(std::string("no such ") + name);
    return object;
  }
  void forget(int32_t handle) {
    std::lock_guard<std::mutex> held(lock);
    objects.erase(handle);
  }
};

} // namespace isoerg
