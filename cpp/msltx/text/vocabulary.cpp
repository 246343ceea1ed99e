#include "msltx/text/vocabulary.h"

#include <algorithm>

#include "msltx/base/error.h"

namespace msltx::text {
namespace {

constexpr int32_t kMaxId = 1 << 30;

}  // namespace

Vocabulary::Vocabulary(std::vector<std::string> tokens)
    : tokens_(std::move(tokens)), known_(tokens_.size(), true) {
  index();
}

Vocabulary::Vocabulary(std::vector<std::pair<std::string, int32_t>> entries) {
  int32_t greatest = -1;
  for (const auto& [token, id] : entries) {
    if (id < 0 || id > kMaxId) {
      throw ValueError(concat("token ", token, " has id ", id, "; ids are 0 to ", kMaxId));
    }
    greatest = std::max(greatest, id);
  }
  tokens_.resize(static_cast<size_t>(greatest + 1));
  known_.resize(tokens_.size());
  for (auto& [token, id] : entries) {
    const auto place = static_cast<size_t>(id);
    if (known_[place]) {
      throw ValueError(concat("tokens ", tokens_[place], " and ", token, " have one id, ", id));
    }
    tokens_[place] = std::move(token);
    known_[place] = true;
  }
  index();
}

void Vocabulary::index() {
  ids_.reserve(tokens_.size());
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (known_[i]) ids_[tokens_[i]] = static_cast<int32_t>(i);
  }
}

}  // namespace msltx::text
