// Times of the kernels at the shapes of the measured models, beside what the machine can do at
// best: its matrix peak for products, its read bandwidth for the rest, both measured at the start
// and again at the end. MSLTX_NUM_THREADS and MSLTX_BACKEND choose how they run.
//
//   bench_kernels --benchmark_filter='linear.*/11m' --benchmark_repetitions=5
//
// Rows whose name ends in bfloat16 have the activations of a bfloat16 model in that type.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>

#include "machine.h"
#include "models.h"
#include "msltx/ops/backend.h"
#include "msltx/ops/ops.h"
#include "msltx/ops/weight.h"
#include "op_memory.h"

namespace {

using namespace msltx;
using namespace msltx::ops;
using namespace msltx::bench;

Machine machine;

// Prepares the weight of an op that has one.
template <class Op>
void prepare(Stream& stream, const Op& op) {
  if constexpr (requires { op.weight; }) {
    if (op.weight.weight) {
      const DType compute = op_info(kIndexOf<Op>).compute_type(&op);
      stream.backend().prepare_weight(stream, op.weight,
                                      {.forward = true, .backward = true, .compute = compute});
    }
  }
}

// Whether a model in bfloat16 has the field in that type; weights are its float32 masters.
bool is_narrow(const OpInfo& info, const FieldInfo& field) {
  if (field.element == Element::compute) return true;
  return field.element == Element::wide && info.name.starts_with("linear_") &&
         field.name != "weight" && field.name != "d_hidden";
}

template <class Op>
Op narrowed(OpMemory& memory, Op op) {
  const OpInfo& info = op_info(kIndexOf<Op>);
  for (const FieldInfo& field : info.fields) {
    Tensor& t = OpInfo::tensor(&op, field);
    if (t.defined() && is_narrow(info, field)) t = memory.narrowed(t);
  }
  return op;
}

template <class Op>
void time_op(benchmark::State& state, const std::function<Op(OpMemory&)>& make, DType dtype) {
  const OpInfo& info = op_info(kIndexOf<Op>);
  const Backend& backend = default_backend();
  if (!backend.supports(info, dtype)) {
    state.SkipWithError("the backend has no kernel of its own");
    return;
  }
  OpMemory memory;
  const Op op = dtype == DType::bfloat16 ? narrowed(memory, make(memory)) : make(memory);
  Executor& executor = Executor::global();
  Scratch scratch(executor.threads());
  using Clock = std::chrono::steady_clock;
  double seconds = 0;
  executor.run([&] {
    Stream stream(backend, executor, scratch);
    prepare(stream, op);
    stream.encode(op);
    const auto begin = Clock::now();
    for (auto _ : state) stream.encode(op);
    seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  });
  const double calls = static_cast<double>(state.iterations());
  const double flops = op.flops() * calls / seconds, bytes = info.bytes(&op) * calls / seconds;
  state.counters["GFLOP/s"] = flops * 1e-9;
  state.counters["GB/s"] = bytes * 1e-9;
  if (machine.matrix_peak > 0) state.counters["of_peak"] = flops / machine.peak(dtype);
  state.counters["of_bandwidth"] = bytes / machine.bandwidth;
}

template <class Make>
void add(const std::string& what, Make make) {
  using Op = std::invoke_result_t<Make, OpMemory&>;
  const std::string name = std::string(Op::name) + "/" + what;
  const std::function<Op(OpMemory&)> maker = make;
  const auto in_type = [&](const std::string& full_name, DType dtype) {
    benchmark::RegisterBenchmark(
        full_name.c_str(), [maker, dtype](benchmark::State& s) { time_op<Op>(s, maker, dtype); })
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  };
  in_type(name, DType::float32);
  const OpInfo& info = op_info(kIndexOf<Op>);
  const bool has_narrow = std::any_of(info.fields.begin(), info.fields.end(),
                                      [&](const FieldInfo& f) { return is_narrow(info, f); });
  if (has_narrow) in_type(name + "/bfloat16", DType::bfloat16);
}

void add_linear(const Model& model, const char* layer, int64_t N, int64_t C, int64_t O,
                Activation activation, bool training) {
  const std::string what = std::string(model.name) + "/" + layer;
  add(what, [=](OpMemory& m) {
    return LinearForward{
        .out = m.tensor({N, O}),
        .pre = activation != Activation::none && training ? m.tensor({N, O}) : Tensor{},
        .x = m.tensor({N, C}),
        .weight = m.weight(O, C),
        .bias = m.tensor({O}),
        .activation = activation};
  });
  if (!training) return;
  const int64_t chunk = 256;
  add(what, [=](OpMemory& m) {
    const bool active = activation != Activation::none;
    return LinearBackwardData{.d_x = m.tensor({N, C}),
                              .d_pre = active ? m.tensor({N, O}) : Tensor{},
                              .d_bias_partials = m.tensor({(N + chunk - 1) / chunk, O}),
                              .d_out = m.tensor({N, O}),
                              .weight = m.weight(O, C),
                              .pre = active ? m.tensor({N, O}) : Tensor{},
                              .activation = activation,
                              .partial_rows = chunk};
  });
  add(what, [=](OpMemory& m) {
    return LinearBackwardWeights{.d_weight = m.tensor({O, C}),
                                 .d_bias = m.tensor({O}),
                                 .x = m.tensor({N, C}),
                                 .d_pre = m.tensor({N, O}),
                                 .d_bias_partials = m.tensor({(N + chunk - 1) / chunk, O})};
  });
}

void add_products(const Model& model) {
  const int64_t N = model.rows(), C = model.C, V = model.V;
  add_linear(model, "qkv", N, C, 3 * C, Activation::none, true);
  add_linear(model, "attention_out", N, C, C, Activation::none, true);
  add_linear(model, "ff_in", N, C, 4 * C, Activation::gelu_tanh, true);
  add_linear(model, "ff_out", N, 4 * C, C, Activation::none, true);
  for (const int64_t rows : {1, 8}) {
    const std::string row_count = std::to_string(rows) + "_rows";
    add_linear(model, ("qkv_" + row_count).c_str(), rows, C, 3 * C, Activation::none, false);
    add_linear(model, ("head_" + row_count).c_str(), rows, C, V, Activation::none, false);
  }
  add(model.name, [=](OpMemory& m) {
    return LinearCrossEntropyForward{.loss = m.tensor({1}),
                                     .hidden = m.tensor({N, C}),
                                     .weight = m.weight(V, C),
                                     .targets = m.ids(N, V),
                                     .scale = 1 / static_cast<float>(N)};
  });
  add(model.name, [=](OpMemory& m) {
    return LinearCrossEntropyForwardBackward{.loss = m.tensor({1}),
                                             .d_hidden = m.tensor({N, C}),
                                             .d_weight = m.tensor({V, C}),
                                             .hidden = m.tensor({N, C}),
                                             .weight = m.weight(V, C),
                                             .targets = m.ids(N, V),
                                             .scale = 1 / static_cast<float>(N)};
  });
}

void add_attention(const Model& model) {
  const int64_t B = model.B, T = model.T, nh = model.heads, hs = model.head_size(), C = model.C;
  // q, k and v as views of the rows of a fused product.
  const auto heads = [=](OpMemory& m) {
    const Tensor qkv = m.tensor({B, T, 3 * C});
    const auto part = [&](int64_t i) {
      Tensor t = qkv.slice(2, i * C, C);
      t.rank = 4;
      t.shape = {B, nh, T, hs};
      t.strides = {T * 3 * C, hs, 3 * C, 1};
      return t;
    };
    return std::array{part(0), part(1), part(2)};
  };
  const auto mixed = [=](OpMemory& m) { return m.tensor({B, T, nh, hs}).swap_axes(1, 2); };
  add(model.name, [=](OpMemory& m) {
    const auto [q, k, v] = heads(m);
    return FlashAttentionForward{
        .out = mixed(m), .lse = m.tensor({B, nh, T}), .q = q, .k = k, .v = v};
  });
  add(model.name, [=](OpMemory& m) {
    const auto [q, k, v] = heads(m);
    const auto [d_q, d_k, d_v] = heads(m);
    return FlashAttentionBackward{.d_q = d_q,
                                  .d_k = d_k,
                                  .d_v = d_v,
                                  .d_out = mixed(m),
                                  .forward_out = mixed(m),
                                  .lse = m.tensor({B, nh, T}),
                                  .q = q,
                                  .k = k,
                                  .v = v};
  });
  add(model.name, [=](OpMemory& m) {  // one new token of one sequence, against a full cache
    const Tensor lengths = m.ids(1, 1);
    lengths.data<int32_t>()[0] = static_cast<int32_t>(T);
    return AttentionInference{.out = m.tensor({1, nh, 1, hs}),
                              .q = m.tensor({1, nh, 1, hs}),
                              .k_cache = m.tensor({1, nh, T, hs}),
                              .v_cache = m.tensor({1, nh, T, hs}),
                              .lengths = lengths};
  });
}

void add_row_ops(const Model& model) {
  const int64_t N = model.rows(), C = model.C, V = model.V, B = model.B, T = model.T, F = 4 * C;
  const int64_t chunk = 256, P = (N + chunk - 1) / chunk;
  add(model.name, [=](OpMemory& m) {
    return EmbeddingForward{
        .out = m.tensor({N, C}), .tokens = m.ids(N, V), .weight = m.tensor({V, C})};
  });
  add(model.name, [=](OpMemory& m) {
    return EmbeddingBackward{.d_weight = m.tensor({V, C}),
                             .tokens = m.ids(N, V),
                             .d_out = m.tensor({N, C}),
                             .vocab_size = V,
                             .accumulate = true};
  });
  add(model.name, [=](OpMemory& m) {
    return PositionalEmbeddingAddForward{
        .out = m.tensor({B, T, C}), .x = m.tensor({B, T, C}), .positions = m.tensor({T, C})};
  });
  add(model.name, [=](OpMemory& m) {
    return LayernormForward{.out = m.tensor({N, C}),
                            .mean = m.tensor({N}),
                            .rstd = m.tensor({N}),
                            .x = m.tensor({N, C}),
                            .gamma = m.tensor({C}),
                            .beta = m.tensor({C})};
  });
  add(model.name, [=](OpMemory& m) {
    return LayernormBackwardData{.d_x = m.tensor({N, C}),
                                 .d_gamma_partials = m.tensor({P, C}),
                                 .d_beta_partials = m.tensor({P, C}),
                                 .d_out = m.tensor({N, C}),
                                 .x = m.tensor({N, C}),
                                 .gamma = m.tensor({C}),
                                 .mean = m.tensor({N}),
                                 .rstd = m.tensor({N}),
                                 .partial_rows = chunk};
  });
  add(model.name, [=](OpMemory& m) {
    return ResidualLayernormForward{.out = m.tensor({N, C}),
                                    .sum = m.tensor({N, C}),
                                    .mean = m.tensor({N}),
                                    .rstd = m.tensor({N}),
                                    .x = m.tensor({N, C}),
                                    .residual = m.tensor({N, C}),
                                    .gamma = m.tensor({C}),
                                    .beta = m.tensor({C})};
  });
  add(model.name, [=](OpMemory& m) {
    return ResidualAddForward{
        .out = m.tensor({N, C}), .x = m.tensor({N, C}), .residual = m.tensor({N, C})};
  });
  add(model.name,
      [=](OpMemory& m) { return GeluForward{.out = m.tensor({N, F}), .x = m.tensor({N, F})}; });
  add(model.name, [=](OpMemory& m) {
    return GeluBackward{.d_x = m.tensor({N, F}), .d_out = m.tensor({N, F}), .x = m.tensor({N, F})};
  });
  add(model.name,
      [=](OpMemory& m) { return SoftmaxForward{.out = m.tensor({N, T}), .x = m.tensor({N, T})}; });
  add(model.name, [=](OpMemory& m) {
    const int64_t rows = std::min<int64_t>(N, 512);
    return SoftmaxCrossEntropyForward{.loss = m.tensor({1}),
                                      .lse = m.tensor({rows}),
                                      .logits = m.tensor({rows, V}),
                                      .targets = m.ids(rows, V)};
  });
  add(model.name, [=](OpMemory& m) {
    const int64_t rows = std::min<int64_t>(N, 512);
    return SoftmaxCrossEntropyBackward{.d_logits = m.tensor({rows, V}),
                                       .logits = m.tensor({rows, V}),
                                       .targets = m.ids(rows, V),
                                       .lse = m.tensor({rows})};
  });
}

// What the Llama settings have in the place of some of these.
void add_family_ops(const Model& model) {
  const int64_t N = model.rows(), C = model.C, B = model.B, T = model.T,
                F = (8 * C + 191) / 192 * 64;
  const int64_t chunk = 256, P = (N + chunk - 1) / chunk;
  add(model.name, [=](OpMemory& m) {
    return RmsnormForward{.out = m.tensor({N, C}),
                          .rstd = m.tensor({N}),
                          .x = m.tensor({N, C}),
                          .gamma = m.tensor({C})};
  });
  add(model.name, [=](OpMemory& m) {
    return RmsnormBackwardData{.d_x = m.tensor({N, C}),
                               .d_gamma_partials = m.tensor({P, C}),
                               .d_out = m.tensor({N, C}),
                               .x = m.tensor({N, C}),
                               .gamma = m.tensor({C}),
                               .rstd = m.tensor({N}),
                               .partial_rows = chunk};
  });
  add(model.name, [=](OpMemory& m) {
    const Tensor both = m.tensor({N, 2 * F});
    return SwigluForward{
        .out = m.tensor({N, F}), .gate = both.slice(1, 0, F), .up = both.slice(1, F, F)};
  });
  add(model.name, [=](OpMemory& m) {
    const Tensor both = m.tensor({N, 2 * F}), d_both = m.tensor({N, 2 * F});
    return SwigluBackward{.d_gate = d_both.slice(1, 0, F),
                          .d_up = d_both.slice(1, F, F),
                          .d_out = m.tensor({N, F}),
                          .gate = both.slice(1, 0, F),
                          .up = both.slice(1, F, F)};
  });
  for (const RopeLayout layout : {RopeLayout::interleaved, RopeLayout::half_split}) {
    add(std::string(model.name) + (layout == RopeLayout::half_split ? "/half_split" : ""),
        [=](OpMemory& m) {
          const int64_t nh = model.heads, hs = model.head_size();
          const Tensor x = m.tensor({B, T, nh, hs}).swap_axes(1, 2);
          return RopeForward{.out = x, .x = x, .table = m.tensor({T, hs}), .layout = layout};
        });
  }
  add(model.name, [=](OpMemory& m) {
    return DropoutForward{.out = m.tensor({B, T, C}), .x = m.tensor({B, T, C}), .p = 0.1f};
  });
  add(model.name,
      [=](OpMemory& m) { return Transpose{.out = m.tensor({C, N}), .x = m.tensor({N, C})}; });
}

void add_sampling(const Model& model) {
  const int64_t V = model.V;
  add(model.name, [=](OpMemory& m) {
    return TemperatureScale{
        .out = m.tensor({1, V}), .logits = m.tensor({1, V}), .temperature = 0.7f};
  });
  add(model.name, [=](OpMemory& m) {
    return TopkMask{.out = m.tensor({1, V}), .logits = m.tensor({1, V}), .k = 40};
  });
  add(model.name, [=](OpMemory& m) {
    return ToppMask{.out = m.tensor({1, V}), .logits = m.tensor({1, V}), .p = 0.9f};
  });
  add(model.name,
      [=](OpMemory& m) { return ArgmaxSample{.tokens = m.ids(1, 1), .logits = m.tensor({1, V})}; });
  add(model.name, [=](OpMemory& m) {
    return SoftcapLogits{.out = m.tensor({1, V}), .logits = m.tensor({1, V}), .cap = 30};
  });
  add(model.name, [=](OpMemory& m) {
    return CategoricalSample{.tokens = m.ids(1, 1), .logits = m.tensor({1, V})};
  });
}

void add_optimizer(const Model& model) {
  const int64_t n = model.parameters();
  add(model.name, [=](OpMemory& m) {
    return Adamw{.param = m.tensor({n}),
                 .m = m.tensor({n}),
                 .v = m.tensor({n}),
                 .grad = m.tensor({n}),
                 .grad_scale = m.scalar(1),
                 .skip = m.scalar(0)};
  });
  add(model.name, [=](OpMemory& m) {
    return Sgd{.param = m.tensor({n}), .grad = m.tensor({n}), .m = m.tensor({n}), .momentum = 0.9f};
  });
  add(model.name, [=](OpMemory& m) { return GlobalNorm{.norm = m.scalar(0), .x = m.tensor({n})}; });
  add(model.name, [=](OpMemory& m) { return Zero{.x = m.tensor({n})}; });
}

}  // namespace

int main(int argc, char** argv) {
  for (const Model& model : kModels) add_products(model);
  for (const Model& model : kModels) add_attention(model);
  for (const Model& model : kModels) add_row_ops(model);
  for (const Model& model : kModels) add_family_ops(model);
  for (const Model& model : kModels) add_sampling(model);
  for (const Model& model : kModels) add_optimizer(model);

  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  machine = Machine::measured();
  machine.print("before");
  benchmark::RunSpecifiedBenchmarks();
  Machine::measured().print("after");
  return 0;
}
