// Any ATen operator by schema name, called through PyTorch's dispatcher with boxed arguments.
//
// Arguments come and results go through one array of doubles that JavaScript shares, so that a call passes two small
// integers over N-API and nothing else. How an argument stands in the array follows from its type in the schema (Kind).
// Arguments that are not given at the end take the schema's default. The encoding is written once more in ../bridge.ts.
#pragma once
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include "tensors.h"

namespace isoerg {

enum class Kind : int { // cells in the array
  Tensor = 0,           // handle
  OptionalTensor = 1,   // handle or 0
  TensorList = 2,       // count, handles
  OptionalTensorList = 3, // count, handles or 0
  Int = 4,              // value
  OptionalInt = 5,      // value or NaN for none
  Float = 6,            // value
  OptionalFloat = 7,    // given (0 or 1), value
  Bool = 8,             // 0 or 1
  OptionalBool = 9,     // 0, 1 or NaN for none
  Scalar = 10,          // tag (1 integer, 2 float, 3 boolean), value
  OptionalScalar = 11,  // tag (0 for none), value
  IntList = 12,         // count, values
  OptionalIntList = 13, // count or -1 for none, values
  FloatList = 14,
  OptionalFloatList = 15,
  BoolList = 16,
  String = 17,          // number of an interned string
  OptionalString = 18,  // the same, or -1 for none
  Device = 19,          // -1 cpu, n cuda:n, NaN none
  Unknown = 20,         // can't be given; the schema's default stands
};

inline Kind kindOf(const c10::Type& type) {
  using K = c10::TypeKind;
  auto isInt = [](const c10::Type& t) { return t.kind() == K::IntType || t.kind() == K::SymIntType; };
  switch (type.kind()) {
    case K::TensorType: return Kind::Tensor;
    case K::IntType:
    case K::SymIntType: return Kind::Int;
    case K::FloatType: return Kind::Float;
    case K::BoolType: return Kind::Bool;
    case K::NumberType: return Kind::Scalar;
    case K::StringType: return Kind::String;
    case K::DeviceObjType: return Kind::Device;
    case K::ListType: {
      const c10::Type& element = *type.castRaw<c10::ListType>()->getElementType();
      if (element.kind() == K::TensorType) return Kind::TensorList;
      if (isInt(element)) return Kind::IntList;
      if (element.kind() == K::FloatType) return Kind::FloatList;
      if (element.kind() == K::BoolType) return Kind::BoolList;
      if (element.kind() == K::OptionalType) return Kind::OptionalTensorList;
      return Kind::Unknown;
    }
    case K::OptionalType: {
      switch (kindOf(*type.castRaw<c10::OptionalType>()->getElementType())) {
        case Kind::Tensor: return Kind::OptionalTensor;
        case Kind::Int: return Kind::OptionalInt;
        case Kind::Float: return Kind::OptionalFloat;
        case Kind::Bool: return Kind::OptionalBool;
        case Kind::Scalar: return Kind::OptionalScalar;
        case Kind::String: return Kind::OptionalString;
        case Kind::Device: return Kind::Device;
        case Kind::IntList: return Kind::OptionalIntList;
        case Kind::FloatList: return Kind::OptionalFloatList;
        default: return Kind::Unknown;
      }
    }
    default: return Kind::Unknown;
  }
}

struct Operator {
  c10::OperatorHandle handle;
  std::string name;
  std::vector<Kind> kinds;
};

inline Operator findOperator(const std::string& name, const std::string& overload) {
  auto handle = c10::Dispatcher::singleton().findSchemaOrThrow(name.c_str(), overload.c_str());
  std::vector<Kind> kinds;
  for (const auto& argument : handle.schema().arguments()) kinds.push_back(kindOf(*argument.type()));
  return {handle, overload.empty() ? name : name + "." + overload, std::move(kinds)};
}

inline c10::IValue deviceValue(double cell) {
  if (std::isnan(cell)) return {};
  if (cell < 0) return c10::Device(c10::DeviceType::CPU);
  return c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(cell));
}

// Reads one argument from `cells` and moves on past it.
class ArgumentReader {
 public:
  ArgumentReader(const double* cells, size_t capacity, const Tensors& tensors, const std::vector<std::string>& strings)
      : next_(cells), end_(cells + capacity), tensors_(tensors), strings_(strings) {}

  c10::IValue read(Kind kind) {
    switch (kind) {
      case Kind::Tensor: return tensors_.at(cell());
      case Kind::OptionalTensor: return optionalTensor();
      case Kind::TensorList: {
        c10::List<at::Tensor> list;
        size_t count = length();
        list.reserve(count);
        for (size_t i = 0; i < count; i++) list.push_back(tensors_.at(cell()));
        return list;
      }
      case Kind::OptionalTensorList: {
        c10::List<c10::optional<at::Tensor>> list;
        size_t count = length();
        for (size_t i = 0; i < count; i++) {
          double handle = cell();
          if (handle == 0) list.push_back(c10::nullopt);
          else list.push_back(tensors_.at(handle));
        }
        return list;
      }
      case Kind::Int: return static_cast<int64_t>(cell());
      case Kind::Float: return cell();
      case Kind::Bool: return cell() != 0;
      case Kind::OptionalInt: {
        double value = cell();
        return std::isnan(value) ? c10::IValue() : c10::IValue(static_cast<int64_t>(value));
      }
      case Kind::OptionalBool: {
        double value = cell();
        return std::isnan(value) ? c10::IValue() : c10::IValue(value != 0);
      }
      case Kind::OptionalFloat: {
        bool given = cell() != 0;
        double value = cell();
        return given ? c10::IValue(value) : c10::IValue();
      }
      case Kind::Scalar:
      case Kind::OptionalScalar: {
        int tag = static_cast<int>(cell());
        double value = cell();
        if (tag == 1) return static_cast<int64_t>(value);
        if (tag == 2) return value;
        if (tag == 3) return value != 0;
        return {};
      }
      case Kind::IntList: return ints(length());
      case Kind::OptionalIntList: {
        double count = cell();
        return count < 0 ? c10::IValue() : ints(static_cast<size_t>(count));
      }
      case Kind::FloatList: return floats(length());
      case Kind::OptionalFloatList: {
        double count = cell();
        return count < 0 ? c10::IValue() : floats(static_cast<size_t>(count));
      }
      case Kind::BoolList: {
        c10::List<bool> list;
        size_t count = length();
        for (size_t i = 0; i < count; i++) list.push_back(cell() != 0);
        return list;
      }
      case Kind::String: return strings_.at(static_cast<size_t>(cell()));
      case Kind::OptionalString: {
        double number = cell();
        return number < 0 ? c10::IValue() : c10::IValue(strings_.at(static_cast<size_t>(number)));
      }
      case Kind::Device: return deviceValue(cell());
      case Kind::Unknown: break;
    }
    TORCH_CHECK(false, "an argument of a type that the bridge does not know");
  }

 private:
  double cell() {
    TORCH_CHECK(next_ < end_, "arguments overflow the shared array");
    return *next_++;
  }
  size_t length() {
    double count = cell();
    TORCH_CHECK(count >= 0 && count <= end_ - next_, "a list overflows the shared array");
    return static_cast<size_t>(count);
  }
  c10::IValue optionalTensor() {
    double handle = cell();
    return handle == 0 ? c10::IValue() : c10::IValue(tensors_.at(handle));
  }
  c10::IValue ints(size_t count) {
    c10::List<int64_t> list;
    list.reserve(count);
    for (size_t i = 0; i < count; i++) list.push_back(static_cast<int64_t>(cell()));
    return list;
  }
  c10::IValue floats(size_t count) {
    c10::List<double> list;
    list.reserve(count);
    for (size_t i = 0; i < count; i++) list.push_back(cell());
    return list;
  }

  const double* next_;
  const double* end_;
  const Tensors& tensors_;
  const std::vector<std::string>& strings_;
};

// Writes results: for each tensor its handle (0 where there is none), scalar type, rank and sizes.
class ResultWriter {
 public:
  ResultWriter(double* cells, size_t capacity, Tensors& tensors) : next_(cells), end_(cells + capacity), tensors_(tensors) {}

  int count() const { return count_; }

  void write(const at::Tensor& tensor) {
    count_++;
    if (!tensor.defined()) {
      room(1);
      *next_++ = 0;
      return;
    }
    auto sizes = tensor.sizes();
    room(3 + sizes.size());
    *next_++ = tensors_.put(tensor);
    *next_++ = static_cast<double>(tensor.scalar_type());
    *next_++ = static_cast<double>(sizes.size());
    for (int64_t size : sizes) *next_++ = static_cast<double>(size);
  }

  void write(const c10::IValue& value) {
    if (value.isTensor()) write(value.toTensor());
    else if (value.isTensorList())
      for (const at::Tensor& tensor : value.toTensorVector()) write(tensor);
    else if (value.isNone()) write(at::Tensor());
    else TORCH_CHECK(false, "a result that is not a tensor");
  }

 private:
  void room(size_t cells) { TORCH_CHECK(next_ + cells <= end_, "results overflow the shared array"); }

  double* next_;
  double* end_;
  Tensors& tensors_;
  int count_ = 0;
};

// Shapes of the tensors among a call's arguments, for its error message.
inline std::string describeArguments(const torch::jit::Stack& stack) {
  std::ostringstream text;
  const char* comma = "";
  auto one = [&](const at::Tensor& tensor) {
    if (!tensor.defined()) return;
    text << comma << c10::toString(tensor.scalar_type()) << " [";
    for (int64_t i = 0; i < tensor.dim(); i++) text << (i ? "," : "") << tensor.size(i);
    text << "]";
    comma = ", ";
  };
  for (const auto& value : stack) {
    if (value.isTensor()) one(value.toTensor());
    else if (value.isTensorList())
      for (const at::Tensor& tensor : value.toTensorVector()) one(tensor);
  }
  return text.str();
}

} // namespace isoerg
