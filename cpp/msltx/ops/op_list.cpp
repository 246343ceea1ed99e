#include "msltx/ops/op_list.h"

#include <vector>

namespace msltx::ops {
namespace {

template <size_t... I>
std::vector<OpInfo> describe_all(std::index_sequence<I...>) {
  std::vector<OpInfo> infos{describe<std::tuple_element_t<I, AllOps>>()...};
  for (size_t i = 0; i < infos.size(); ++i) infos[i].index = static_cast<int>(i);
  return infos;
}

}  // namespace

std::span<const OpInfo> all_ops() {
  static const std::vector<OpInfo> infos = describe_all(std::make_index_sequence<kOpCount>{});
  return infos;
}

const OpInfo* find_op(std::string_view name) {
  for (const OpInfo& info : all_ops()) {
    if (info.name == name) return &info;
  }
  return nullptr;
}

}  // namespace msltx::ops
