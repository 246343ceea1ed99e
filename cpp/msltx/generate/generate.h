// Text generation as tokens: a prompt in, new tokens out until one of the reasons to stop.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "msltx/generate/sampler.h"
#include "msltx/model/gpt.h"

namespace msltx::generate {

struct GenerateOptions {
  int64_t max_tokens = 128;
  SamplerOptions sampler;
  std::vector<int32_t> stop_tokens;  // the one that ends the text is not part of the result
};

enum class FinishReason : uint8_t {
  max_tokens,
  stop_token,
  context,   // the model's context_length is full
  callback,  // on_token said so
};
std::string_view name_of(FinishReason reason);

struct Generation {
  std::vector<int32_t> tokens;
  FinishReason reason = FinishReason::max_tokens;
  int64_t prompt_tokens = 0;
  double prefill_seconds = 0;  // the prompt, up to the first new token
  double decode_seconds = 0;   // the tokens after it
};

// `on_token` sees every new token and returns false to stop there. Throws ValueError for an empty
// prompt, one longer than context_length, or a token outside the vocabulary.
Generation generate(model::GPT& model, std::span<const int32_t> prompt,
                    const GenerateOptions& options,
                    const std::function<bool(int32_t)>& on_token = {});

}  // namespace msltx::generate
