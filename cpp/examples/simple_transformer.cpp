// The engine without Python: builds a small GPT, times its forward, trains it on one sentence,
// generates.
//
//   simple_transformer [TOKENS_TO_GENERATE]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "msltx/base/error.h"
#include "msltx/generate/generate.h"
#include "msltx/model/gpt.h"
#include "msltx/train/train_step.h"

namespace {

using namespace msltx;

model::GPTConfig small_config() {
  model::GPTConfig config;
  config.vocab_size = 1000;
  config.context_length = 128;
  config.embedding_dim = 256;
  config.num_layers = 4;
  config.num_heads = 8;
  config.ff_dim = 1024;
  config.positions = {model::Position::sinusoidal};
  config.tie_weights = false;
  return config;
}

double milliseconds(const auto& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

void time_forward(model::GPT& gpt) {
  constexpr int kRepeats = 11;
  std::printf("\nforward, logits of every token (median of %d)\n", kRepeats);
  for (int64_t length : {1, 2, 5, 8, 16, 32}) {
    std::vector<int32_t> tokens;
    for (int64_t t = 0; t < length; ++t) tokens.push_back(static_cast<int32_t>((7 * t + 3) % 1000));
    std::vector<float> logits(static_cast<size_t>(length * gpt.config().vocab_size));
    const Tensor z = Tensor::host(logits.data(), DType::float32, {length, gpt.config().vocab_size});
    std::vector<double> times;
    for (int i = 0; i < kRepeats; ++i) {
      times.push_back(milliseconds(
          [&] { gpt.logits(gpt.forward(tokens.data(), {1, length}, model::Keep::nothing), z); }));
    }
    std::nth_element(times.begin(), times.begin() + kRepeats / 2, times.end());
    std::printf("  %3lld tokens  %8.3f ms\n", static_cast<long long>(length), times[kRepeats / 2]);
  }
}

// Bytes of a sentence as tokens: enough to see the loss fall and the sentence come back.
void train_and_generate(model::GPT& gpt, int64_t count) {
  constexpr std::string_view kSentence =
      "a sentence that a small model learns by heart in a few steps. ";
  const auto token = [&](int64_t i) {
    return static_cast<int32_t>(
        static_cast<unsigned char>(kSentence[static_cast<size_t>(i) % kSentence.size()]));
  };
  const model::BatchShape shape{2, 64};
  train::TrainStep step(gpt, {shape, 1}, {.weight_decay = 0.1f, .grad_clip = 1},
                        {.learning_rate = 1e-3, .warmup_steps = 5, .max_steps = 40},
                        [&](int64_t n, int32_t* tokens, int32_t* targets, int32_t*) {
                          for (int64_t i = 0; i < shape.rows(); ++i) {
                            tokens[i] = token(n + i);
                            targets[i] = token(n + i + 1);
                          }
                        });
  std::printf("\ntraining on one sentence\n");
  for (int i = 0; i < 40; ++i) {
    const train::StepResult result = step.run();
    if (i % 10 == 0 || i == 39) {
      std::printf("  step %2d  loss %.4f  gradient norm %.3f\n", i + 1, result.loss,
                  result.grad_norm);
    }
  }

  std::vector<int32_t> prompt;
  for (int64_t i = 0; i < 10; ++i) prompt.push_back(token(i));
  const generate::Generation made = generate::generate(
      gpt, prompt, {.max_tokens = count, .sampler = {.temperature = 0.5, .seed = 1}});
  std::string text;
  for (int32_t id : made.tokens) text += id < 256 ? static_cast<char>(id) : '?';
  std::printf("\ngenerated after \"%.10s\" with temperature 0.5:\n  %s\n", kSentence.data(),
              text.c_str());
  std::printf("  %.0f tokens/s\n", static_cast<double>(made.tokens.size()) /
                                       (made.prefill_seconds + made.decode_seconds));
}

}  // namespace

int main(int argc, char** argv) {
  const long count = argc > 1 ? std::strtol(argv[1], nullptr, 10) : 60;
  if (count < 1 || count > 100) {
    std::fprintf(stderr, "usage: simple_transformer [TOKENS_TO_GENERATE, 1 to 100]\n");
    return 2;
  }
  try {
    model::GPT gpt(small_config(), 1);
    std::printf("%lld parameters, backend %s, %d threads\n",
                static_cast<long long>(gpt.num_parameters()),
                std::string(gpt.backend().name()).c_str(), gpt.executor().threads());
    time_forward(gpt);
    train_and_generate(gpt, count);
  } catch (const Error& error) {
    std::fprintf(stderr, "simple_transformer: %s\n", error.what());
    return 1;
  }
}
