// Post-processors of a tokenizer.json: what puts special tokens around the tokens of a text. Pairs
// of texts are not encoded here; what the file says of them is kept.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "msltx/text/encoding.h"
#include "msltx/text/json_fields.h"

namespace msltx::text {

// The ids that stand before and after those of a text.
struct Affixes {
  std::vector<int32_t> prefix, suffix;
};

// Never changes once made; safe for concurrent use.
class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  // How many tokens it adds with add_special_tokens.
  virtual int64_t added() const = 0;
  virtual int32_t greatest_id() const = 0;  // of what it adds; -1: nothing
  virtual int64_t texts() const = 0;        // how often the text stands in what it makes
  virtual void process(Encoding& encoding, bool add_special_tokens) const = 0;
  // What it does to ids; none where it is more than putting some around them.
  virtual std::optional<Affixes> affixes() const = 0;
};

// From its JSON; null for null. Throws ValueError for a post-processor that is not known.
std::unique_ptr<const PostProcessor> make_post_processor(const Json& json);

}  // namespace msltx::text
