// Tensor handles: what JavaScript holds instead of an at::Tensor.
//
// A handle is slot + generation * 2^22, exact in a double. A slot's generation rises each time it is freed, so a handle
// that was kept past its release is refused instead of naming whatever tensor took the slot. 0 is "no tensor".
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <utility>
#include <vector>

namespace isoerg {

class Tensors {
 public:
  double put(at::Tensor tensor) {
    uint32_t slot;
    if (free_.empty()) {
      TORCH_CHECK(slots_.size() < kMaxSlots, "more than ", kMaxSlots, " tensors are alive: they are not being disposed");
      slot = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    slots_[slot].tensor = std::move(tensor);
    live_++;
    return static_cast<double>(slot) + static_cast<double>(slots_[slot].generation) * kMaxSlots;
  }

  const at::Tensor& at(double handle) const { return find(handle).tensor; }

  void remove(double handle) {
    Slot& slot = const_cast<Slot&>(find(handle));
    slot.tensor.reset();
    slot.generation++;
    live_--;
    free_.push_back(static_cast<uint32_t>(&slot - slots_.data()));
  }

  size_t live() const { return live_; }

 private:
  static constexpr uint32_t kMaxSlots = 1u << 22;
  struct Slot {
    at::Tensor tensor;
    uint32_t generation = 1;
  };

  const Slot& find(double handle) const {
    int64_t bits = static_cast<int64_t>(handle);
    size_t slot = static_cast<size_t>(bits & (kMaxSlots - 1));
    TORCH_CHECK(
        bits > 0 && slot < slots_.size() && slots_[slot].generation == static_cast<uint32_t>(bits / kMaxSlots) &&
            slots_[slot].tensor.defined(),
        "a tensor was used after it was disposed");
    return slots_[slot];
  }

  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  size_t live_ = 0;
};

} // namespace isoerg
