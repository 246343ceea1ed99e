// Text to ids: added tokens, normalizer, split, cache, model; and how a long text or a batch is
// shared out to workers. Text is cut only where a pre-token is sure to begin, so the ids do not
// depend on it.
#include <algorithm>

#include "msltx/base/error.h"
#include "msltx/text/hf_unicode.h"
#include "msltx/text/piece_lookup.h"
#include "msltx/text/split_pattern.h"
#include "msltx/text/tokenizer.h"
#include "msltx/text/tokenizer_state.h"
#include "msltx/text/word_cut.h"

namespace msltx::text {
namespace {

constexpr size_t kTaskBytes = 1 << 17;     // of text per task: some milliseconds
constexpr size_t kMaxIdleWorkspaces = 16;  // each has caches of some megabytes
constexpr size_t kBytesPerTokenGuess = 4;  // English prose has more

void check_valid(std::string_view text, size_t bad) {
  if (bad != kValid) throw ValueError(concat("the text has ", describe_invalid_utf8(text, bad)));
}

// The parts of a text that tasks take: stretches of text, and added tokens found between them.
struct Part {
  std::string_view text;
  int32_t token = -1;           // else an added token
  bool from_beginning = false;  // where text is cut into words: not behind a word
};

// may_cut(begin, at): the text may be cut at `at`.
template <class MayCut>
void cut_into_parts(std::string_view text, std::vector<Part>& parts, MayCut&& may_cut) {
  for (bool from_beginning = true; !text.empty(); from_beginning = false) {
    size_t at = std::min(kTaskBytes, text.size());
    while (at < text.size() && !may_cut(text.data(), text.data() + at)) ++at;
    parts.push_back({.text = text.substr(0, at), .from_beginning = from_beginning});
    text.remove_prefix(at);
  }
}

// All of them one behind another; touching so much new memory takes time, so workers share it.
IdArray joined(std::span<const std::vector<int32_t>> parts, Executor& executor) {
  std::vector<size_t> begins{0};
  for (const auto& part : parts) begins.push_back(begins.back() + part.size());
  IdArray out{std::make_unique_for_overwrite<int32_t[]>(begins.back()), begins.back()};
  executor.parallel_for(static_cast<int64_t>(parts.size()), [&](int64_t task, int) {
    const auto k = static_cast<size_t>(task);
    std::copy(parts[k].begin(), parts[k].end(), out.data.get() + begins[k]);
  });
  return out;
}

}  // namespace

Tokenizer::Lease::Lease(const State& state) : state_(state) {
  {
    std::lock_guard lock(state.idle_mutex);
    if (!state.idle.empty()) {
      workspace_ = std::move(state.idle.back());
      state.idle.pop_back();
    }
  }
  if (!workspace_) workspace_ = std::make_unique<Workspace>();
}

Tokenizer::Lease::~Lease() {
  std::lock_guard lock(state_.idle_mutex);
  if (state_.idle.size() < kMaxIdleWorkspaces) state_.idle.push_back(std::move(workspace_));
}

void Tokenizer::State::encode_text(std::string_view text, Workspace& workspace,
                                   std::vector<int32_t>& out) const {
  if (!byte_level()) {
    if (!by_words) return encode_through_pipeline(text, normalizer.get(), workspace, out);
    return for_each_segment(
        raw_matcher, text,
        [&](std::string_view segment) { encode_words(segment, true, workspace, out); },
        [&](int32_t id, std::string_view) { out.push_back(id); });
  }
  for_each_segment(
      raw_matcher, text, [&](std::string_view segment) { encode_segment(segment, workspace, out); },
      [&](int32_t id, std::string_view) { out.push_back(id); });
}

void Tokenizer::State::encode_segment(std::string_view segment, Workspace& workspace,
                                      std::vector<int32_t>& out) const {
  if (spec.lowercase) {
    workspace.normalized.clear();
    hf::append_lowercase(segment, workspace.normalized);
    encode_normalized(workspace.normalized, workspace, out);
  } else if (normalizer) {
    AlignedText normalized(segment, false);
    normalizer->normalize(normalized);
    encode_normalized(normalized.text(), workspace, out);
  } else {
    encode_normalized(segment, workspace, out);
  }
}

void Tokenizer::State::encode_normalized(std::string_view text, Workspace& workspace,
                                         std::vector<int32_t>& out) const {
  for_each_segment(
      normalized_matcher, text,
      [&](std::string_view segment) {
        if (!spec.add_prefix_space || segment.starts_with(' ')) {
          return encode_pieces(segment, workspace, out);
        }
        workspace.prefixed.assign(1, ' ');
        workspace.prefixed += segment;
        encode_pieces(workspace.prefixed, workspace, out);
      },
      [&](int32_t id, std::string_view) { out.push_back(id); });
}

void Tokenizer::State::encode_pieces(std::string_view text, Workspace& workspace,
                                     std::vector<int32_t>& out) const {
  with_split(spec.split, [&]<class Split>(Split) { encode_pieces<Split>(text, workspace, out); });
}

void Tokenizer::State::encode_piece(std::string_view piece, Workspace& workspace,
                                    std::vector<int32_t>& out) const {
  if (spec.ignore_merges) {
    if (const auto whole = whole_pieces.find(piece)) return out.push_back(*whole);
  }
  bpe.encode_piece(piece, workspace.scratch, out);
}

template <class Split>
void Tokenizer::State::encode_pieces(std::string_view text, Workspace& workspace,
                                     std::vector<int32_t>& out) const {
  for (const char *p = text.data(), *const end = p + text.size(); p < end;) {
    workspace.scan.cut<Split>(p, end);
    p += workspace.scan.ends().back();
    look_up_pieces(workspace.scan, workspace.cache, out,
                   [&](std::string_view piece) { encode_piece(piece, workspace, out); });
  }
}

// The first word of a text may be normalized in its own way; the others are looked up.
void Tokenizer::State::encode_words(std::string_view text, bool from_beginning,
                                    Workspace& workspace, std::vector<int32_t>& out) const {
  const char* p = text.data();
  const char* const end = p + text.size();
  if (from_beginning) {
    p = WordCut::next(p, end);
    encode_through_pipeline({text.data(), p}, normalizer.get(), workspace, out);
  }
  while (p < end) {
    workspace.scan.cut<WordCut>(p, end);
    p += workspace.scan.ends().back();
    look_up_pieces(workspace.scan, workspace.words, out, [&](std::string_view word) {
      encode_through_pipeline(word, inner_normalizer.get(), workspace, out);
    });
  }
}

void Tokenizer::State::encode(std::string_view text, bool add_special_tokens, Workspace& workspace,
                              std::vector<int32_t>& out) const {
  check_valid(text, find_invalid_utf8(text));
  if (add_special_tokens) out.insert(out.end(), spec.prefix.begin(), spec.prefix.end());
  encode_text(text, workspace, out);
  if (add_special_tokens) out.insert(out.end(), spec.suffix.begin(), spec.suffix.end());
}

void Tokenizer::encode(std::string_view text, std::vector<int32_t>& out,
                       bool add_special_tokens) const {
  if (!state_->affixes_only) {
    const Encoding encoding = encode_fully(text, add_special_tokens);
    out.insert(out.end(), encoding.ids.begin(), encoding.ids.end());
    return;
  }
  const Lease workspace(*state_);
  state_->encode(text, add_special_tokens, *workspace, out);
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  std::vector<int32_t> out;
  out.reserve(text.size() / kBytesPerTokenGuess + 16);
  encode(text, out, add_special_tokens);
  return out;
}

IdArray Tokenizer::encode_parallel(std::string_view text, Executor& executor,
                                   bool add_special_tokens, Utf8 state) const {
  const bool by_words = state_->by_words;
  if (text.size() <= kTaskBytes || !state_->affixes_only || !(state_->byte_level() || by_words)) {
    const std::vector<int32_t> ids = encode(text, add_special_tokens);
    return joined({&ids, 1}, executor);
  }
  if (state == Utf8::unknown) check_valid(text, find_invalid_utf8(text, executor));
  std::vector<Part> parts;
  for_each_segment(
      state_->raw_matcher, text,
      [&](std::string_view segment) {
        // A token with a space inside that is found later must not be cut, nor what a normalizer
        // may make of a space and its neighbours.
        if (by_words) {
          cut_into_parts(segment, parts, [&](const char* begin, const char* at) {
            return WordCut::may_cut(begin, at, segment.data() + segment.size());
          });
        } else if (state_->normalized_matcher.spans_spaces() ||
                   (state_->normalizer && !state_->spec.lowercase)) {
          parts.push_back({.text = segment});
        } else {
          cut_into_parts(segment, parts, SplitTools::is_boundary);
        }
      },
      [&](int32_t id, std::string_view) { parts.push_back({.token = id}); });

  std::vector<size_t> first_of_task{0};
  size_t bytes = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    bytes += parts[i].text.size() + 1;
    if (bytes >= kTaskBytes || i + 1 == parts.size()) {
      first_of_task.push_back(i + 1);
      bytes = 0;
    }
  }
  std::vector<std::vector<int32_t>> ids(first_of_task.size() - 1);
  executor.parallel_for(static_cast<int64_t>(ids.size()), [&](int64_t task, int) {
    executor.check_cancelled();
    const auto k = static_cast<size_t>(task);
    const Lease workspace(*state_);
    for (size_t i = first_of_task[k]; i < first_of_task[k + 1]; ++i) {
      if (parts[i].token >= 0) {
        ids[k].push_back(parts[i].token);
      } else if (by_words) {
        state_->encode_words(parts[i].text, parts[i].from_beginning, *workspace, ids[k]);
      } else {
        state_->encode_segment(parts[i].text, *workspace, ids[k]);
      }
    }
  });

  if (add_special_tokens) {
    ids.insert(ids.begin(), state_->spec.prefix);
    ids.push_back(state_->spec.suffix);
  }
  return joined(ids, executor);
}

std::vector<std::vector<int32_t>> Tokenizer::encode_batch(std::span<const std::string_view> texts,
                                                          Executor& executor,
                                                          bool add_special_tokens) const {
  std::vector<std::vector<int32_t>> ids(texts.size());
  std::vector<size_t> first_of_task{0};
  size_t bytes = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    bytes += texts[i].size() + 1;
    if (bytes >= kTaskBytes || i + 1 == texts.size()) {
      first_of_task.push_back(i + 1);
      bytes = 0;
    }
  }
  executor.parallel_for(static_cast<int64_t>(first_of_task.size()) - 1, [&](int64_t task, int) {
    executor.check_cancelled();
    const auto k = static_cast<size_t>(task);
    const Lease workspace(*state_);
    for (size_t i = first_of_task[k]; i < first_of_task[k + 1]; ++i) {
      if (state_->affixes_only) {
        state_->encode(texts[i], add_special_tokens, *workspace, ids[i]);
      } else {
        ids[i] = encode_fully(texts[i], add_special_tokens).ids;
      }
    }
  });
  return ids;
}

}  // namespace msltx::text
