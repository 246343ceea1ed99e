// Encoding: a text as tokens with everything that is known of them; and what may be done to one
// afterwards: cutting it into windows, padding it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "msltx/text/aligned_text.h"

namespace msltx::text {

enum class Side : uint8_t { left, right };

struct Encoding {
  std::vector<int32_t> ids, type_ids;
  std::vector<std::string>
      tokens;  // as the vocabulary writes them; added tokens as they stood in text
  std::vector<TextSpan> offsets;             // in characters of the text; 0, 0 for what was added
  std::vector<int32_t> words;                // the piece that the token is of; -1: none
  std::vector<uint8_t> special_tokens_mask;  // 1: put there by the post-processor or by padding
  std::vector<uint8_t> attention_mask;       // 0: padding
  std::vector<Encoding> overflowing;         // the windows after the first one

  size_t size() const { return ids.size(); }
  void push(int32_t id, std::string token, TextSpan span, int32_t word, int32_t type_id,
            bool special);
  // Appends the other; windows of both are combined as the Hugging Face library does. Throws
  // ValueError where that makes more than some ten million tokens.
  void append(const Encoding& other);

  // The first window of at most `max_length` tokens, counted from the left where Side::right is cut
  // off; the others go to `overflowing`, each with the last `stride` tokens of the one before.
  // Throws ValueError for a stride that is not less than max_length.
  void truncate(int64_t max_length, int64_t stride, Side cut_off);
  void pad(int64_t length, int32_t id, int32_t type_id, const std::string& token, Side side);

 private:
  Encoding part(size_t begin, size_t end) const;
  void append_plain(const Encoding& other);
};

}  // namespace msltx::text
