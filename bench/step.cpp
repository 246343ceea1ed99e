// Whole training steps of the measured models, and what the seam costs in them: the nanoseconds of
// an encode times the encodes of a step, as a share of it in millionths. No Python, no data: random
// ids.
//
//   bench_step --benchmark_filter=1m --benchmark_min_time=5
//
// The types and the two families beside each other, in turns; where other jobs share the machine,
// processor time (of all threads) says more than time that passed:
//
//   bench_step --benchmark_filter=training_step/11m --benchmark_repetitions=5
//              --benchmark_enable_random_interleaving=true
#include <benchmark/benchmark.h>

#include <chrono>
#include <random>
#include <string>

#include "machine.h"
#include "models.h"
#include "msltx/base/arena.h"
#include "msltx/model/gpt.h"
#include "msltx/ops/ops.h"
#include "msltx/train/train_step.h"

namespace {

using namespace msltx;
using namespace msltx::bench;

Machine machine;

// GPT-2 settings, or those of Llama: rmsnorm, rope, swiglu, no biases.
model::GPTConfig config_of(const Model& m, bool llama) {
  model::GPTConfig config;
  if (llama) {
    config.norm = model::Norm::rmsnorm;
    config.positions = {model::Position::rope};
    config.activation = model::Activation::swiglu;
    config.bias = model::BiasGroups::none();
  }
  config.vocab_size = m.V;
  config.context_length = m.T;
  config.embedding_dim = m.C;
  config.num_layers = m.layers;
  config.num_heads = m.heads;
  return config;
}

// Seconds of encoding an op that does next to nothing: zero of one number. Its kernel is counted
// in, so this is a little more than the seam's own cost.
double encode_seconds() {
  constexpr int kEncodes = 1 << 20;
  Arena arena(64);
  const ops::Zero op{.x = arena.allocate(DType::float32, {1})};
  ops::Scratch scratch(Executor::global().threads());
  ops::Stream parallel(ops::default_backend(), Executor::global(), scratch);
  double seconds = 0;
  Executor::global().run([&] {
    ops::Stream stream = parallel.serial(0);
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kEncodes; ++i) {
      stream.encode(op);
      benchmark::ClobberMemory();
    }
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  });
  return seconds / kEncodes;
}

void encode(benchmark::State& state) {
  double seconds = 0;
  for (auto _ : state) {
    seconds = encode_seconds();
    state.SetIterationTime(seconds);
  }
  state.counters["ns"] = seconds * 1e9;
}

void training_step(benchmark::State& state, const Model& m, bool llama, DType dtype) {
  model::GPT gpt(config_of(m, llama), 1, {.dtype = dtype});
  std::mt19937_64 bits(1);
  std::uniform_int_distribution<int32_t> any_id(0, static_cast<int32_t>(m.V - 1));
  const auto random_batch = [&](int64_t, int32_t* tokens, int32_t* targets, int32_t*) {
    for (int64_t i = 0; i < m.rows(); ++i) {
      tokens[i] = any_id(bits);
      targets[i] = any_id(bits);
    }
  };
  train::TrainStep step(gpt, {{m.B, m.T}, 1}, {.weight_decay = 0.1f, .grad_clip = 1},
                        {.kind = optim::ScheduleKind::constant, .learning_rate = 3e-4},
                        random_batch);
  for (int i = 0; i < 3; ++i) step.run();
  double seconds = 0;
  for (auto _ : state) {
    const auto begin = std::chrono::steady_clock::now();
    step.run();
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    state.SetIterationTime(passed.count());
    seconds += passed.count();
  }
  seconds /= static_cast<double>(state.iterations());
  const double operations = static_cast<double>(m.rows()) * m.flops_per_token(gpt.num_parameters());
  const auto encodes = static_cast<double>(step.counts().encodes);
  state.counters["tokens/s"] = static_cast<double>(m.rows()) / seconds;
  state.counters["GFLOP/s"] = operations / seconds * 1e-9;
  state.counters["of_peak_%"] = 100 * operations / seconds / machine.peak(dtype);
  state.counters["encodes"] = encodes;
  state.counters["waits"] = static_cast<double>(step.counts().waits);
  const double encoding = encodes * encode_seconds();
  state.counters["encode_us"] = encoding * 1e6;
  state.counters["encode_ppm"] = encoding / seconds * 1e6;
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::RegisterBenchmark("encode", encode)->UseManualTime()->Iterations(5);
  for (const Model& m : kModels) {
    for (const bool llama : {false, true}) {
      for (const DType dtype : {DType::float32, DType::bfloat16}) {
        const std::string name = std::string("training_step/") + m.name + (llama ? "/llama" : "") +
                                 (dtype == DType::float32 ? "" : "/bfloat16");
        benchmark::RegisterBenchmark(name.c_str(), training_step, m, llama, dtype)
            ->UseManualTime()
            ->MeasureProcessCPUTime()
            ->Unit(benchmark::kMillisecond);
      }
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  machine = Machine::measured();
  machine.print("before");
  benchmark::RunSpecifiedBenchmarks();
  Machine::measured().print("after");
  return 0;
}
