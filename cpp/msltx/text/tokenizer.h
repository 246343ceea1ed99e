// Tokenizer: text to token ids and back, from a pipeline of normalizer, pre-tokenizer, model,
// post-processor and decoder in the layout of the Hugging Face tokenizer.json. Byte-level BPE with
// one of the known split patterns has a way of its own, which is faster. A tokenizer never changes
// once made and is safe for concurrent use.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "msltx/base/executor.h"
#include "msltx/base/file.h"
#include "msltx/text/added_tokens.h"
#include "msltx/text/encoding.h"
#include "msltx/text/model.h"
#include "msltx/text/piece_table.h"
#include "msltx/text/progress.h"
#include "msltx/text/split_pattern.h"
#include "msltx/text/token_roles.h"
#include "msltx/text/train_options.h"

namespace msltx::text {

// Everything a tokenizer is made of. tokenizer_json.h reads and writes it; Tokenizer checks it.
struct TokenizerSpec {
  // By id; of the model in byte_alphabet, added ones as they are, empty where an id has none.
  std::vector<std::string> tokens;
  std::vector<std::pair<int32_t, int32_t>> merges;  // by rank
  // By merge, where several have one rank (tiktoken); empty: 0, 1, 2 ...
  std::vector<uint32_t> ranks;
  std::vector<AddedToken> added;
  bool lowercase = false;         // normalizer
  bool add_prefix_space = false;  // a space before text that does not begin with one
  SplitPattern split = SplitPattern::gpt2;
  bool ignore_merges = false;  // a piece that is a token is that token, whatever the merges make
  // What add_special_tokens puts before and after the ids of a text.
  std::vector<int32_t> prefix, suffix;
  std::string unk_token;  // for the file only: every byte has a token
  // Any model but byte-level BPE, which has `tokens` and `merges` instead.
  std::shared_ptr<const Model> model;
  // Components as JSON. Empty means none; beside byte-level BPE the pre-tokenizer and the decoder
  // then follow from the fields above, and always the post-processor from prefix and suffix.
  std::string normalizer, pre_tokenizer, post_processor, decoder;
  // A SentencePiece .model file as it is: then all but `model`, `added` and `prefix` follows from
  // it, and added tokens are not looked for in text.
  std::string sentencepiece;
  // As a file set them; nothing here truncates or pads unasked.
  std::string truncation, padding;
  RoleNames roles;       // where they are not the usual ones
  std::string training;  // JSON: what it was trained with; empty where that is not known
};

// Of the bytes of a SentencePiece .model. Throws FileError, beginning with `name`, for what is not
// read.
TokenizerSpec sentencepiece_spec(std::string bytes, const std::string& name);

// What a file leaves out. For the files of tiktoken's own encodings, told by their names
// (cl100k_base.tiktoken), split and special tokens are known; they are for .tiktoken files only.
struct LoadOptions {
  std::string split;  // name of the pattern; empty: the file's name says
  std::vector<std::pair<std::string, int32_t>> special_tokens;
  RoleNames roles;  // before what files say
};

// How a batch is cut and padded.
struct BatchOptions {
  bool add_special_tokens = false;
  std::optional<int64_t> max_length;  // special tokens included; what is over goes or overflows
  int64_t stride = 0;                 // tokens that a window shares with the one before it
  Side truncation_side = Side::right;
  enum class Padding : uint8_t { none, longest, fixed } padding = Padding::none;
  int64_t padded_length = 0;       // with Padding::fixed
  int64_t pad_to_multiple_of = 1;  // of what is padded to
  Side padding_side = Side::right;
};

// The ids of a long text, in memory that was not cleared before.
struct IdArray {
  std::unique_ptr<int32_t[]> data;
  size_t size = 0;
  std::span<const int32_t> view() const { return {data.get(), size}; }
};

class Tokenizer {
 public:
  explicit Tokenizer(TokenizerSpec spec);  // throws ValueError where the parts do not fit together
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // A tokenizer.json, a folder that has one, a .tiktoken file or a SentencePiece .model. Beside a
  // tokenizer.json, tokenizer_config.json and special_tokens_map.json say the roles of tokens.
  static Tokenizer load(const Path& path, const LoadOptions& options = {});
  static Tokenizer from_json(std::string_view json, const std::string& name = "tokenizer.json");
  std::string to_json() const;
  // A tokenizer.json, or for a path that ends in .model a SentencePiece file (ValueError where that
  // cannot say what this tokenizer does). Whole or not at all.
  void save(const Path& path) const;

  // See TokenizerTrainer.
  static Tokenizer train(std::span<const Path> files, const TrainOptions& options,
                         Executor& executor, const ProgressFn& progress = {});

  // Appends the ids of valid UTF-8 `text` (ValueError otherwise). Special tokens written in the
  // text are recognized.
  void encode(std::string_view text, std::vector<int32_t>& out,
              bool add_special_tokens = false) const;
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens = false) const;
  // The same ids; a long text is shared out to the executor's workers.
  IdArray encode_parallel(std::string_view text, Executor& executor,
                          bool add_special_tokens = false, Utf8 state = Utf8::unknown) const;
  std::vector<std::vector<int32_t>> encode_batch(std::span<const std::string_view> texts,
                                                 Executor& executor,
                                                 bool add_special_tokens = false) const;

  // The same ids with all that is known of them. Slower.
  Encoding encode_fully(std::string_view text, bool add_special_tokens = false) const;
  // Of every text its encoding, cut and padded; windows beyond the first are in `overflowing`.
  // Throws ValueError where there is no padding token to pad with, and for impossible options.
  std::vector<Encoding> encode_batch_fully(std::span<const std::string_view> texts,
                                           const BatchOptions& options, Executor& executor) const;

  // The text of the ids; bytes that are not UTF-8 become U+FFFD. Throws ValueError for an id
  // outside the vocabulary.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = false) const;

  int64_t vocab_size() const;
  std::optional<int32_t> token_to_id(std::string_view token) const;
  const std::string& id_to_token(int32_t id) const;  // as the file writes it ("Ġthe")
  std::string token_bytes(int32_t id) const;         // what decoding it alone gives (" the")
  bool is_special(int32_t id) const;
  const TokenRoles& roles() const;
  const TokenizerSpec& spec() const;
  bool is_byte_level() const;           // byte-level BPE with a known split pattern
  std::string_view model_name() const;  // bpe, wordpiece, unigram, word_level

 private:
  Encoding encode_places(std::string_view text) const;

  struct State;
  struct Workspace;
  class Lease;
  std::unique_ptr<const State> state_;
};

// Decodes token by token and never shows half a character: bytes of an unfinished one wait for the
// next token. The tokenizer must outlive it.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = true)
      : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens) {}

  // The characters that this token completes.
  std::string push(int32_t id);
  // What still waits, as U+FFFD; the decoder is as new afterwards.
  std::string finish();

 private:
  std::string push_through_decoder(int32_t id);
  std::string after_shown(const std::string& text, size_t ready) const;

  const Tokenizer& tokenizer_;
  bool skip_special_tokens_;
  std::string pending_;  // of byte-level BPE: bytes that wait
  // Of others, whose decoders look at neighbours: the tokens since the last but one text that was
  // handed out, their text up to the last one, and how many they are.
  std::vector<int32_t> ids_;
  std::string shown_;
  size_t shown_ids_ = 0;
  size_t whole_ids_ = 0;  // up to where the text last ended with a whole character
};

}  // namespace msltx::text
