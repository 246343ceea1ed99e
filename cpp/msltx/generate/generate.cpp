#include "msltx/generate/generate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "msltx/base/error.h"
#include "msltx/generate/decoder.h"

namespace msltx::generate {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

std::string_view name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::max_tokens:
      return "max_tokens";
    case FinishReason::stop_token:
      return "stop_token";
    case FinishReason::context:
      return "context";
    case FinishReason::callback:
      return "callback";
  }
  return "";
}

Generation generate(model::GPT& model, std::span<const int32_t> prompt,
                    const GenerateOptions& options, const std::function<bool(int32_t)>& on_token) {
  const int64_t context = model.config().context_length;
  const auto prompt_size = static_cast<int64_t>(prompt.size());
  if (prompt.empty()) throw ValueError("the prompt is empty; generation needs at least one token");
  if (prompt_size > context) {
    throw ValueError(
        concat("the prompt has ", prompt_size, " tokens; the model's context_length is ", context));
  }
  if (options.max_tokens < 0) {
    throw ValueError(concat("max_tokens is ", options.max_tokens, "; it takes 0 or more"));
  }
  Exclusive::Guard guard(model.exclusive(), "the model");
  const int64_t capacity = prompt_size + std::min(options.max_tokens, context - prompt_size);
  Decoder decoder(model, 1, capacity);
  Sampler sampler(options.sampler, 1, model.config().vocab_size);

  Generation result;
  result.prompt_tokens = prompt_size;
  if (options.max_tokens == 0) return result;
  model.executor().run([&] {
    ops::Stream stream = model.make_stream();
    auto begin = Clock::now();
    decoder.feed(stream, prompt.data(), prompt_size);
    for (int64_t step = 0;; ++step) {
      sampler.encode(stream, decoder.logits(), step);
      stream.submit();
      stream.wait();
      int32_t token = 0;
      stream.read(sampler.tokens(), &token);
      float logit = 0;
      stream.read(decoder.logits().slice(1, token, 1), &logit);
      if (!std::isfinite(logit)) {
        throw Error(concat("the logits after ", prompt_size + step,
                           " tokens are not finite: the model's parameters hold NaN or infinity"));
      }
      if (step == 0) {
        result.prefill_seconds = seconds_since(begin);
        begin = Clock::now();
      }
      const auto& stops = options.stop_tokens;
      if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
        result.reason = FinishReason::stop_token;
        break;
      }
      result.tokens.push_back(token);
      if (on_token && !on_token(token)) {
        result.reason = FinishReason::callback;
        break;
      }
      if (static_cast<int64_t>(result.tokens.size()) == options.max_tokens) break;
      if (decoder.length() == capacity) {
        result.reason = FinishReason::context;
        break;
      }
      decoder.feed(stream, &token, 1);
    }
    result.decode_seconds = seconds_since(begin);
  });
  return result;
}

}  // namespace msltx::generate
