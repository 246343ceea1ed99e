#include "msltx/text/sentencepiece_export.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "msltx/base/error.h"
#include "msltx/text/byte_tokens.h"
#include "msltx/text/char_bpe.h"
#include "msltx/text/charsmap.h"
#include "msltx/text/normalizer.h"
#include "msltx/text/train_pipeline.h"
#include "msltx/text/unigram.h"

namespace msltx::text {
namespace {

using Kind = SentencePieceFile::Kind;

constexpr char32_t kCodePoints = 0x110000;

[[noreturn]] void refuse(const std::string& why) {
  throw ValueError(concat("the tokenizer ", why, ", which no SentencePiece file can say"));
}

// What the normalizer of a trained tokenizer does to each character, spaces left out of account.
std::string charsmap_of(bool lowercase) {
  nlohmann::json parts = nlohmann::json::array({{{"type", "Nmt"}}});
  if (lowercase) parts.push_back({{"type", "Lowercase"}});
  const auto normalizer = make_normalizer(Json{{"type", "Sequence"}, {"normalizers", parts}});
  std::vector<std::pair<std::string, std::string>> entries;
  for (char32_t c = 1; c < kCodePoints; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string written;
    append_utf8(written, c);
    AlignedText text(written, false);
    normalizer->normalize(text);
    if (text.text() != written) entries.emplace_back(written, text.text());
  }
  return Charsmap::build(std::move(entries));
}

void check_pipeline(const TokenizerSpec& spec) {
  TrainOptions options{.model = "unigram"};
  for (const bool lowercase : {false, true}) {
    options.lowercase = lowercase;
    const TrainPipeline usual = make_train_pipeline(options);
    const std::string normalizer = spec.lowercase ? "" : spec.normalizer;
    if (normalizer == usual.normalizer.dump() && spec.pre_tokenizer == usual.cut.dump()) return;
  }
  refuse("is not one that was trained here with the split metaspace");
}

}  // namespace

SentencePieceFile to_sentencepiece(const TokenizerSpec& spec, const TokenRoles& roles) {
  if (!spec.sentencepiece.empty()) return parse_sentencepiece(spec.sentencepiece, "the model");
  const auto* unigram = dynamic_cast<const Unigram*>(spec.model.get());
  const auto* bpe = dynamic_cast<const CharBpe*>(spec.model.get());
  if (!unigram && !bpe) refuse("is neither Unigram nor BPE over characters");
  check_pipeline(spec);
  if (!roles.unk) refuse("has no unknown token");

  SentencePieceFile file;
  file.model_type =
      unigram ? SentencePieceFile::ModelType::unigram : SentencePieceFile::ModelType::bpe;
  file.byte_fallback = unigram ? unigram->spec().byte_fallback : bpe->spec().byte_fallback;
  file.unk_id = *roles.unk;
  file.bos_id = roles.bos.value_or(-1);
  file.eos_id = roles.eos.value_or(-1);
  file.pad_id = roles.pad.value_or(-1);
  file.charsmap = charsmap_of(spec.normalizer.find("Lowercase") != std::string::npos);
  std::unordered_set<int32_t> controls;
  for (const AddedToken& added : spec.added) controls.insert(added.id);
  std::unordered_set<int32_t> bytes;
  const Vocabulary& vocabulary = spec.model->vocabulary();
  if (file.byte_fallback) {
    for (const int32_t id : byte_token_ids(vocabulary)) bytes.insert(id);
  }
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const Kind kind = id == file.unk_id       ? Kind::unknown
                      : controls.contains(id) ? Kind::control
                      : bytes.contains(id)    ? Kind::byte
                                              : Kind::normal;
    // Merges go by the scores of what they make; ids are in the order in which it was made.
    const double score = kind != Kind::normal ? 0
                         : unigram            ? unigram->spec().scores[static_cast<size_t>(id)]
                                              : -id;
    file.pieces.push_back({vocabulary.token(id), static_cast<float>(score), kind});
  }
  return file;
}

}  // namespace msltx::text
