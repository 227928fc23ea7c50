// The bridge between Node and PyTorch's tensor library: plain N-API, no model in it.
//
// JavaScript gets: handles to tensors, any ATen operator by schema name (operators.h), copies in and out of typed arrays
// (shared memory too), keyed noise (philox.h), and counts. All state belongs to one environment (napi_set_instance_data),
// so the same library serves several worker threads at once; only the memory pool is common to the process.
//
// Every entry runs in inference mode: gradients are explicit here, so ATen's own bookkeeping for them is never wanted.
// An error of ATen's becomes a JavaScript Error: its first line, the operator and the shapes that it was given.
#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <malloc.h>
#include <node_api.h>

#include "activation.h"
#include "device_memory.h"
#include "group_norm.h"
#include "narrow_gradient.h"
#include "operators.h"
#include "philox.h"
#include "tensors.h"

namespace isoerg {

struct State {
  Tensors tensors;
  std::vector<Operator> operators;
  std::vector<std::string> strings;
  torch::jit::Stack stack;
  double* cells = nullptr; // the array shared with JavaScript
  size_t numCells = 0;
  napi_ref cellsReference = nullptr; // keeps it alive
};

static std::string firstLine(const char* text) {
  std::string line(text);
  auto end = line.find('\n');
  if (end != std::string::npos) line.resize(end);
  return line;
}

static void raise(napi_env env, const std::string& message) {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_error(env, "ERR_TORCH", message.c_str());
}

static void check(napi_env env, napi_status status) {
  if (status == napi_ok) return;
  const napi_extended_error_info* info = nullptr;
  napi_get_last_error_info(env, &info);
  throw std::runtime_error(info && info->error_message ? info->error_message : "a wrong argument");
}

// The arguments of one call from JavaScript, converted on demand.
struct Call {
  napi_env env;
  State& state;
  size_t count;
  napi_value values[10];

  double number(size_t i) const {
    double value;
    check(env, napi_get_value_double(env, values[i], &value));
    return value;
  }
  int32_t integer(size_t i) const {
    int32_t value;
    check(env, napi_get_value_int32(env, values[i], &value));
    return value;
  }
  uint32_t word(size_t i) const {
    uint32_t value;
    check(env, napi_get_value_uint32(env, values[i], &value));
    return value;
  }
  std::string string(size_t i) const {
    size_t length;
    check(env, napi_get_value_string_utf8(env, values[i], nullptr, 0, &length));
    std::string text(length, '\0');
    check(env, napi_get_value_string_utf8(env, values[i], &text[0], length + 1, &length));
    return text;
  }
  napi_value make(double value) const {
    napi_value result;
    check(env, napi_create_double(env, value, &result));
    return result;
  }
  napi_value make(const std::string& value) const {
    napi_value result;
    check(env, napi_create_string_utf8(env, value.data(), value.size(), &result));
    return result;
  }
  void set(napi_value object, const char* name, double value) const {
    check(env, napi_set_named_property(env, object, name, make(value)));
  }
  ResultWriter results() const { return ResultWriter(state.cells, state.numCells, state.tensors); }
};

struct Array {
  napi_typedarray_type type;
  size_t length;
  void* data;
};

static Array arrayOf(const Call& call, size_t i) {
  Array array;
  check(call.env, napi_get_typedarray_info(call.env, call.values[i], &array.type, &array.length, &array.data, nullptr, nullptr));
  return array;
}

static at::ScalarType scalarTypeOf(const Array& array) {
  switch (array.type) {
    case napi_float32_array: return at::kFloat;
    case napi_float64_array: return at::kDouble;
    case napi_int32_array: return at::kInt;
    case napi_uint8_array:
    case napi_uint8_clamped_array: return at::kByte;
    default: TORCH_CHECK(false, "a typed array of a kind that tensors don't have");
  }
}

static size_t bytesPerElement(const Array& array) { return c10::elementSize(scalarTypeOf(array)); }

using Body = napi_value (*)(const Call&);

template <Body body>
static napi_value entry(napi_env env, napi_callback_info info) {
  State* state = nullptr;
  napi_get_instance_data(env, reinterpret_cast<void**>(&state));
  Call call{env, *state, 10, {}};
  napi_get_cb_info(env, info, &call.count, call.values, nullptr, nullptr);
  try {
    c10::InferenceMode inference(true);
    return body(call);
  } catch (const c10::Error& error) {
    raise(env, firstLine(error.what_without_backtrace()));
  } catch (const std::exception& error) {
    raise(env, firstLine(error.what()));
  }
  return nullptr;
}

// share(cells: Float64Array): the array through which arguments and results pass.
static napi_value share(const Call& call) {
  Array array = arrayOf(call, 0);
  TORCH_CHECK(array.type == napi_float64_array, "share() takes a Float64Array");
  if (call.state.cellsReference) napi_delete_reference(call.env, call.state.cellsReference);
  check(call.env, napi_create_reference(call.env, call.values[0], 1, &call.state.cellsReference));
  call.state.cells = static_cast<double*>(array.data);
  call.state.numCells = array.length;
  return nullptr;
}

// operator(name, overload) -> number of the operator; the kinds of its arguments are left in the shared array: count, kinds.
static napi_value resolve(const Call& call) {
  Operator found = findOperator(call.string(0), call.string(1));
  call.state.cells[0] = static_cast<double>(found.kinds.size());
  for (size_t i = 0; i < found.kinds.size(); i++) call.state.cells[i + 1] = static_cast<double>(found.kinds[i]);
  call.state.operators.push_back(std::move(found));
  return call.make(static_cast<double>(call.state.operators.size() - 1));
}

// string(text) -> its number, for arguments of kind String.
static napi_value intern(const Call& call) {
  call.state.strings.push_back(call.string(0));
  return call.make(static_cast<double>(call.state.strings.size() - 1));
}

static void invoke(const Call& call) {
  State& state = call.state;
  const Operator& op = state.operators.at(static_cast<size_t>(call.integer(0)));
  size_t given = static_cast<size_t>(call.integer(1));
  torch::jit::Stack& stack = state.stack;
  stack.clear();
  try {
    ArgumentReader reader(state.cells, state.numCells, state.tensors, state.strings);
    for (size_t i = 0; i < op.kinds.size(); i++) {
      if (i < given) {
        stack.push_back(reader.read(op.kinds[i]));
        continue;
      }
      const auto& fallback = op.handle.schema().arguments()[i].default_value();
      TORCH_CHECK(fallback.has_value(), "argument '", op.handle.schema().arguments()[i].name(), "' is missing");
      stack.push_back(*fallback);
    }
    op.handle.callBoxed(&stack);
  } catch (const c10::Error& error) {
    std::string message = firstLine(error.what_without_backtrace()) + " (" + op.name + " of " + describeArguments(stack) + ")";
    stack.clear();
    throw std::runtime_error(message);
  } catch (const std::exception& error) {
    std::string message = firstLine(error.what()) + " (" + op.name + " of " + describeArguments(stack) + ")";
    stack.clear();
    throw std::runtime_error(message);
  }
}

// call(operator, number of arguments given) -> number of result tensors, which stand in the shared array.
static napi_value callOperator(const Call& call) {
  invoke(call);
  ResultWriter writer = call.results();
  for (const auto& value : call.state.stack) writer.write(value);
  call.state.stack.clear();
  return call.make(writer.count());
}

// run(operator, number of arguments given): for operators that write in place; their result is the argument, so it is dropped.
static napi_value runOperator(const Call& call) {
  invoke(call);
  call.state.stack.clear();
  return nullptr;
}

static napi_value release(const Call& call) {
  call.state.tensors.remove(call.number(0));
  return nullptr;
}

static at::Tensor onDevice(const at::Tensor& tensor, int device) {
  if (device < 0) return tensor;
  return tensor.to(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device)), tensor.scalar_type(), true);
}

static std::vector<int64_t> shapeFromCells(const State& state) {
  size_t rank = static_cast<size_t>(state.cells[0]);
  return std::vector<int64_t>(state.cells + 1, state.cells + 1 + rank);
}

// from(array, scalar type, device): a tensor with the array's values; its shape stands in the shared array (rank, sizes).
// For another device the copy goes through pinned memory, which the caching host allocator keeps until the stream has read it.
static napi_value from(const Call& call) {
  Array array = arrayOf(call, 0);
  auto type = static_cast<at::ScalarType>(call.integer(1));
  int device = call.integer(2);
  at::Tensor tensor = at::empty(shapeFromCells(call.state), at::TensorOptions(type).pinned_memory(device >= 0));
  size_t bytes = array.length * bytesPerElement(array);
  TORCH_CHECK(bytes == tensor.nbytes(), "an array of ", bytes, " bytes for a tensor of ", tensor.nbytes());
  if (bytes) memcpy(tensor.data_ptr(), array.data, bytes);
  ResultWriter writer = call.results();
  writer.write(onDevice(tensor, device));
  return call.make(writer.count());
}

// read(handle, array): the tensor's values in row-major order, converted to the array's type, straight into its memory.
// A complex tensor gives real and imaginary parts in turn.
static napi_value read(const Call& call) {
  const at::Tensor& tensor = call.state.tensors.at(call.number(0));
  Array array = arrayOf(call, 1);
  at::Tensor values = tensor.is_complex() ? at::view_as_real(tensor) : tensor;
  TORCH_CHECK(static_cast<size_t>(values.numel()) == array.length, "an array of ", array.length, " values for a tensor of ", values.numel());
  if (array.length == 0) return nullptr;
  at::ScalarType type = scalarTypeOf(array);
  if (values.device().is_cpu() && values.scalar_type() == type && values.is_contiguous()) {
    memcpy(array.data, values.data_ptr(), values.nbytes());
    return nullptr;
  }
  at::from_blob(array.data, values.sizes(), at::TensorOptions(type)).copy_(values);
  return nullptr;
}

// write(handle, array): the array's values over the tensor's.
static napi_value write(const Call& call) {
  const at::Tensor& tensor = call.state.tensors.at(call.number(0));
  Array array = arrayOf(call, 1);
  TORCH_CHECK(static_cast<size_t>(tensor.numel()) == array.length, "an array of ", array.length, " values for a tensor of ", tensor.numel());
  if (array.length) tensor.copy_(at::from_blob(array.data, tensor.sizes(), at::TensorOptions(scalarTypeOf(array))));
  return nullptr;
}

// noise(kind, key0, key1, step, purposeAndInner, positions: Int32Array, device): rows of uniform (0) or normal (1) values;
// the tensor's shape stands in the shared array, its first size the number of positions.
static napi_value noise(const Call& call) {
  bool normal = call.integer(0) == 1;
  PhiloxKey key{call.word(1), call.word(2), call.word(3), call.word(4)};
  Array positions = arrayOf(call, 5);
  TORCH_CHECK(positions.type == napi_int32_array, "positions are an Int32Array");
  std::vector<int64_t> shape = shapeFromCells(call.state);
  int device = call.integer(6);
  at::Tensor tensor = at::empty(shape, at::TensorOptions(at::kFloat).pinned_memory(device >= 0));
  TORCH_CHECK(!shape.empty() && shape[0] == static_cast<int64_t>(positions.length), "one row for each position");
  const auto* position = static_cast<const int32_t*>(positions.data);
  size_t rowSize = positions.length ? static_cast<size_t>(tensor.numel()) / positions.length : 0;
  float* out = tensor.data_ptr<float>();
  at::parallel_for(0, static_cast<int64_t>(positions.length), 1 + 16384 / static_cast<int64_t>(rowSize + 1), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      auto* fill = normal ? &normalRow : &uniformRow;
      fill(key, static_cast<uint32_t>(position[row]), out + static_cast<size_t>(row) * rowSize, rowSize);
    }
  });
  ResultWriter writer = call.results();
  writer.write(onDevice(tensor, device));
  return call.make(writer.count());
}

// activation(kind, x, dy or 0, parameter) -> 1 with its result in the shared array, or 0 where ATen must do it.
static napi_value activationOf(const Call& call) {
  const at::Tensor& x = call.state.tensors.at(call.number(1));
  double gradient = call.number(2);
  at::Tensor dy = gradient == 0 ? at::Tensor() : call.state.tensors.at(gradient);
  at::Tensor result = activation(call.integer(0), x, dy, static_cast<float>(call.number(3)));
  if (!result.defined()) return call.make(0);
  ResultWriter writer = call.results();
  writer.write(result);
  return call.make(writer.count());
}

// narrowInputGradient(dy, weight, height, width, stride, padding) -> 1 with its result in the shared array, or 0 where ATen must do it.
static napi_value narrowInputGradientOf(const Call& call) {
  const Tensors& tensors = call.state.tensors;
  at::Tensor result = narrowInputGradient(
      tensors.at(call.number(0)), tensors.at(call.number(1)), call.integer(2), call.integer(3), call.integer(4), call.integer(5));
  if (!result.defined()) return call.make(0);
  ResultWriter writer = call.results();
  writer.write(result);
  return call.make(writer.count());
}

static napi_value writeAll(const Call& call, const std::vector<at::Tensor>& results) {
  ResultWriter writer = call.results();
  for (const at::Tensor& result : results) writer.write(result);
  return call.make(writer.count());
}

// groupNorm(x, gamma, beta, groups, epsilon) -> 3 with y, mean and rstd in the shared array, or 0 where ATen must do it.
static napi_value groupNormOf(const Call& call) {
  const Tensors& tensors = call.state.tensors;
  return writeAll(
      call,
      groupNorm(tensors.at(call.number(0)), tensors.at(call.number(1)), tensors.at(call.number(2)), call.integer(3), static_cast<float>(call.number(4))));
}

// groupNormGrad(dy, x, mean, rstd, gamma, groups) -> 3 with dx, dgamma and dbeta in the shared array, or 0 where ATen must do it.
static napi_value groupNormGradOf(const Call& call) {
  const Tensors& tensors = call.state.tensors;
  return writeAll(
      call,
      groupNormGrad(
          tensors.at(call.number(0)), tensors.at(call.number(1)), tensors.at(call.number(2)), tensors.at(call.number(3)), tensors.at(call.number(4)),
          call.integer(5)));
}

static napi_value setThreads(const Call& call) {
  at::set_num_threads(call.integer(0));
  return nullptr;
}

// setTensorFloat32(allow): whether float32 products on a GPU may be rounded to TF32 (10 bits of mantissa).
static napi_value setTensorFloat32(const Call& call) {
  bool allow = call.integer(0) != 0;
  at::globalContext().setAllowTF32CuBLAS(allow);
  at::globalContext().setAllowTF32CuDNN(allow);
  at::globalContext().setBenchmarkCuDNN(true);
  return nullptr;
}

static napi_value trim(const Call&) {
  Pool::instance().trim();
  malloc_trim(0);
  return nullptr;
}

// resetPeak(device)
static napi_value resetPeak(const Call& call) {
  resetMemoryPeak(call.integer(0));
  return nullptr;
}

// memory(device) -> live tensors of this thread; bytes of the process on the device.
static napi_value memory(const Call& call) {
  PoolCounts counts = memoryCounts(call.integer(0));
  napi_value object;
  check(call.env, napi_create_object(call.env, &object));
  call.set(object, "live", static_cast<double>(call.state.tensors.live()));
  call.set(object, "bytes", static_cast<double>(counts.held));
  call.set(object, "peakBytes", static_cast<double>(counts.peak));
  call.set(object, "cachedBytes", static_cast<double>(counts.cached));
  return object;
}

static napi_value about(const Call& call) {
  napi_value object, text;
  check(call.env, napi_create_object(call.env, &object));
  text = call.make(TORCH_VERSION);
  check(call.env, napi_set_named_property(call.env, object, "version", text));
  call.set(object, "threads", at::get_num_threads());
  call.set(object, "cuda", at::hasCUDA());
  return object;
}

// strides(handle): in elements, into the shared array (rank, strides); for tests that a view was no copy.
static napi_value strides(const Call& call) {
  const at::Tensor& tensor = call.state.tensors.at(call.number(0));
  call.state.cells[0] = static_cast<double>(tensor.dim());
  for (int64_t i = 0; i < tensor.dim(); i++) call.state.cells[i + 1] = static_cast<double>(tensor.stride(i));
  return nullptr;
}

static void usePool() {
  static std::once_flag once;
  std::call_once(once, [] {
    c10::SetCPUAllocator(&Pool::instance(), 100);
    // Scratch memory of the kernel libraries comes from malloc: keep it too, instead of faulting it in anew at each call.
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
  });
}

} // namespace isoerg

NAPI_MODULE_INIT() {
  using namespace isoerg;
  usePool();
  auto* state = new State();
  napi_set_instance_data(env, state, [](napi_env, void* data, void*) { delete static_cast<State*>(data); }, nullptr);
  const struct {
    const char* name;
    napi_callback callback;
  } entries[] = {
      {"share", entry<share>},         {"operator", entry<resolve>},    {"string", entry<intern>},
      {"call", entry<callOperator>},   {"run", entry<runOperator>},     {"release", entry<release>},
      {"from", entry<from>},           {"read", entry<read>},           {"write", entry<write>},
      {"noise", entry<noise>},         {"activation", entry<activationOf>},
      {"narrowInputGradient", entry<narrowInputGradientOf>},
      {"groupNorm", entry<groupNormOf>},
      {"groupNormGrad", entry<groupNormGradOf>},
      {"setThreads", entry<setThreads>}, {"setTensorFloat32", entry<setTensorFloat32>},
      {"trim", entry<trim>},           {"resetPeak", entry<resetPeak>}, {"memory", entry<memory>},
      {"about", entry<about>},         {"strides", entry<strides>},
  };
  for (const auto& one : entries) {
    napi_value function;
    napi_create_function(env, one.name, NAPI_AUTO_LENGTH, one.callback, nullptr, &function);
    napi_set_named_property(env, exports, one.name, function);
  }
  return exports;
}
