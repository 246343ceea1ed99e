// Diagnostic mode: an interceptor that looks at every op before and after it runs, one at a time in
// program order. It checks what the op's description says (shapes, dtypes, aliasing, ranges of
// indices), that what it reads and writes is finite, that all of every output is written, and that
// nothing beside its outputs is; the first fault throws, naming op, tensor, layer and step. Slow:
// every tensor is read once more. Nothing of it runs where it is not installed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "msltx/ops/stream.h"

namespace msltx::ops {

// Whether MSLTX_DIAGNOSTIC asks for it: 1 or 0, absent 0. Throws ValueError for anything else.
bool diagnostic_by_environment();

class Diagnostic : public Interceptor {
 public:
  // What a user calls the memory at an address, such as a parameter; "" where nobody knows.
  using NameOf = std::function<std::string(const void*)>;
  explicit Diagnostic(NameOf name_of = {}) : name_of_(std::move(name_of)) {}

  void before(const Encoding& encoding) override;
  void after(const Encoding& encoding) override;
  bool wants_order() const override { return true; }

  // The step that errors name from here on, counted from 1 as in a run's log.
  void set_step(int64_t step) { step_ = step; }

 private:
  // Bytes beside an op's outputs, and what stood in them before it ran.
  struct Guard {
    const std::byte* begin;
    std::vector<std::byte> before;
    std::string_view field;  // of the output that the guard lies behind or in front of
  };

  std::string place(const Encoding& encoding) const;
  void check_finite(const Encoding& encoding, const FieldInfo& field, const char* when) const;
  void set_guards(const Encoding& encoding);

  NameOf name_of_;
  int64_t step_ = 1;
  std::vector<Guard> guards_;
};

}  // namespace msltx::ops
