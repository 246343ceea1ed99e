#include "msltx/ops/profile.h"

#include <algorithm>

namespace msltx::ops {

void Profiler::before(const Encoding& encoding) { slot(encoding).begin = Clock::now(); }

void Profiler::after(const Encoding& encoding) {
  const auto end = Clock::now();
  Slot& s = slot(encoding);
  Sum& sum = s.sums[static_cast<size_t>(encoding.info.index)];
  ++sum.calls;
  sum.nanoseconds += std::chrono::duration_cast<std::chrono::nanoseconds>(end - s.begin).count();
  sum.flops += encoding.info.flops(encoding.op);
  sum.bytes += encoding.info.bytes(encoding.op);
}

std::vector<ProfileRow> Profiler::rows() const {
  const auto workers = static_cast<double>(slots_.size() - 1);
  std::vector<ProfileRow> rows;
  for (size_t op = 0; op < kOpCount; ++op) {
    ProfileRow row{.op = op_info(op).name};
    for (size_t i = 0; i < slots_.size(); ++i) {
      const Sum& sum = slots_[i].sums[op];
      row.calls += sum.calls;
      row.seconds += 1e-9 * static_cast<double>(sum.nanoseconds) / (i == 0 ? 1.0 : workers);
      row.flops += sum.flops;
      row.bytes += sum.bytes;
    }
    if (row.calls > 0) rows.push_back(row);
  }
  std::sort(rows.begin(), rows.end(),
            [](const ProfileRow& a, const ProfileRow& b) { return a.seconds > b.seconds; });
  return rows;
}

void Profiler::reset() {
  for (Slot& slot : slots_) slot.sums.assign(kOpCount, Sum{});
}

}  // namespace msltx::ops
