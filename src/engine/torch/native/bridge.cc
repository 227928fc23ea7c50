// The bridge between Node and PyTorch's tensor library: plain N-API, no model in it.
//
// JavaScript gets: handles to tensors, any ATen operator by schema name (operators.h), copies in and out of typed arrays
// (shared memory too), keyed noise (philox.h), and counts. All state belongs to one environment (napi_set_instance_data),
// so the same library serves several worker threads at once; only the memory pool is common to the process.
//
// Every entry runs in inference mode: gradients are explicit here, so ATen's own bookkeeping for them is never wanted.
// An error of ATen's becomes a JavaScript Error: its first line, the operator and the shapes that it was given.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <malloc.h>

#include "call.h"
#include "device_memory.h"
#include "own_kernels.h"

namespace isoerg {

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

static napi_value setThreads(const Call& call) {
  at::set_num_threads(call.integer(0));
  return nullptr;
}

// setTensorFloat32(allow): whether float32 products on a GPU may be rounded to TF32 (10 bits of mantissa).
static napi_value setTensorFloat32(const Call& call) {
  bool allow = call.integer(0) != 0;
  at::globalContext().setAllowTF32CuBLAS(allow);
  at::globalContext().setAllowTF32CuDNN(allow);
  return nullptr;
}

// benchmarkConvolutions(): lets cuDNN try its algorithms for each new shape; training has few shapes.
static napi_value benchmarkConvolutions(const Call&) {
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
#ifdef ISOERG_CUDA
  call.set(object, "recordings", 1);
#else
  call.set(object, "recordings", 0);
#endif
  return object;
}

// strides(handle): in elements, into the shared array (rank, strides); for tests that a view was no copy.
static napi_value strides(const Call& call) {
  const at::Tensor& tensor = call.state.tensors.at(call.number(0));
  call.state.cells[0] = static_cast<double>(tensor.dim());
  for (int64_t i = 0; i < tensor.dim(); i++) call.state.cells[i + 1] = static_cast<double>(tensor.stride(i));
  return nullptr;
}

#ifdef ISOERG_CUDA
static RecordedLaunches& recordingAt(const Call& call) {
  auto& recording = call.state.recordings.at(static_cast<size_t>(call.integer(0)));
  TORCH_CHECK(recording != nullptr, "a recording was used after it was dropped");
  return *recording;
}

// beginRecording(device) -> its number; endRecording(number); replay(number); dropRecording(number)
static napi_value beginRecording(const Call& call) {
  auto recording = std::make_unique<RecordedLaunches>(call.integer(0));
  recording->begin();
  call.state.recordings.push_back(std::move(recording));
  return call.make(static_cast<double>(call.state.recordings.size() - 1));
}
static napi_value endRecording(const Call& call) {
  recordingAt(call).end();
  return nullptr;
}
static napi_value replay(const Call& call) {
  recordingAt(call).replay();
  return nullptr;
}
static napi_value dropRecording(const Call& call) {
  call.state.recordings.at(static_cast<size_t>(call.integer(0))).reset();
  return nullptr;
}
#endif

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
      {"winogradFilter", entry<winogradFilterOf>},
      {"winogradConvolution", entry<winogradConvolutionOf>},
      {"winogradFilterGradient", entry<winogradFilterGradientOf>},
      {"limitWinograd", entry<limitWinograd>},
#ifdef ISOERG_CUDA
      {"beginRecording", entry<beginRecording>},
      {"endRecording", entry<endRecording>},
      {"replay", entry<replay>},
      {"dropRecording", entry<dropRecording>},
#endif
      {"setThreads", entry<setThreads>}, {"setTensorFloat32", entry<setTensorFloat32>},
      {"benchmarkConvolutions", entry<benchmarkConvolutions>},
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
