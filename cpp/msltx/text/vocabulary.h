// Vocabulary: tokens by id and ids by token. Ids may have holes, as files of other libraries do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace msltx::text {

class Vocabulary {
 public:
  Vocabulary() = default;
  // Ids are places in the list. Of equal tokens the last one is found, as in the Hugging Face
  // library.
  explicit Vocabulary(std::vector<std::string> tokens);
  // Throws ValueError for an id that is negative or over 2^30, and for one that two tokens have.
  explicit Vocabulary(std::vector<std::pair<std::string, int32_t>> entries);
  Vocabulary(Vocabulary&&) noexcept = default;  // the strings keep their places
  Vocabulary& operator=(Vocabulary&&) noexcept = default;

  // One more than the greatest id.
  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  std::optional<int32_t> find(std::string_view token) const {
    const auto found = ids_.find(token);
    if (found == ids_.end()) return std::nullopt;
    return found->second;
  }
  // Whether a token has this id.
  bool has(int32_t id) const { return id >= 0 && id < size() && known_[static_cast<size_t>(id)]; }
  // The token of an id that has one; empty in a hole.
  const std::string& token(int32_t id) const { return tokens_[static_cast<size_t>(id)]; }

 private:
  void index();

  std::vector<std::string> tokens_;
  std::vector<bool> known_;
  std::unordered_map<std::string_view, int32_t> ids_;  // views into tokens_
};

}  // namespace msltx::text
