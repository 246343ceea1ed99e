#include "msltx/text/byte_trie.h"

#include <algorithm>

namespace msltx::text {
namespace {

constexpr size_t kBytes = 256;
// Where the search for free places begins is moved on once less than this share of what it passed
// was free: few places are lost and the search stays short.
constexpr size_t kFullShare = 20;

}  // namespace

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, int32_t>> entries) : units_(kBytes + 1) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  struct Range {  // entries that share the bytes up to the node
    size_t begin, end, depth;
    uint32_t node;
  };
  std::vector<Range> open{{0, entries.size(), 0, 0}};
  size_t search_from = 1;
  std::vector<std::pair<unsigned char, size_t>> children;  // byte, first entry
  while (!open.empty()) {
    Range range = open.back();
    open.pop_back();
    // Entries that end here stand first.
    for (; range.begin < range.end && entries[range.begin].first.size() == range.depth;
         ++range.begin) {
      if (range.depth > 0) units_[range.node].value = entries[range.begin].second;
    }
    if (range.begin == range.end) continue;
    children.clear();
    for (size_t i = range.begin; i < range.end; ++i) {
      const auto byte = static_cast<unsigned char>(entries[i].first[range.depth]);
      if (children.empty() || children.back().first != byte) children.emplace_back(byte, i);
    }

    const size_t first = children.front().first + size_t{1};
    size_t place = std::max(search_from, first), passed = 0, free = 0;
    const auto fits = [&] {
      return std::all_of(children.begin(), children.end(), [&](const auto& child) {
        const size_t at = place - first + child.first + 1;
        return at >= units_.size() || units_[at].parent == kFree;
      });
    };
    for (;; ++place, ++passed) {
      if (place < units_.size() && units_[place].parent != kFree) continue;
      ++free;
      if (fits()) break;
    }
    if (free * kFullShare <= passed) search_from = place;
    const size_t base = place - first;
    if (base + kBytes + 1 > units_.size()) units_.resize(base + kBytes + 1);
    units_[range.node].base = static_cast<uint32_t>(base);
    for (size_t k = 0; k < children.size(); ++k) {
      const auto node = static_cast<uint32_t>(base + children[k].first + 1);
      units_[node].parent = range.node;
      const size_t end = k + 1 < children.size() ? children[k + 1].second : range.end;
      open.push_back({children[k].second, end, range.depth + 1, node});
    }
  }
}

}  // namespace msltx::text
