// MemoryPlan: a table of tensors with the sections between which each is alive, laid out in one
// arena so that tensors that never live at the same time may share memory.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "msltx/base/arena.h"
#include "msltx/base/tensor.h"

namespace msltx::model {

class MemoryPlan {
 public:
  struct Entry {
    std::string name;
    DType dtype;
    std::vector<int64_t> shape;
    int born, dies;  // first and last section that touches it
    int64_t bytes = 0, offset = 0;
  };

  // Declares a tensor; the index is what tensor() takes.
  size_t add(std::string name, DType dtype, std::initializer_list<int64_t> shape, int born,
             int dies);

  // Gives every entry its place: largest first, at the lowest offset free during its life.
  void lay_out();
  int64_t bytes() const { return bytes_; }
  std::span<const Entry> entries() const { return entries_; }

  // Reserves the memory; tensor() works from here on.
  void allocate() { arena_ = Arena(bytes_); }
  Tensor tensor(size_t index) const;

  // Overwrites with NaN bytes all that no entry alive in `section` holds: a test that reads nothing
  // after its death, and nothing before its birth, still passes.
  void poison_dead(int section) const;

 private:
  std::vector<Entry> entries_;
  int64_t bytes_ = 0;
  Arena arena_;
};

}  // namespace msltx::model
