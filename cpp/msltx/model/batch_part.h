// What the layers of a model are told of a batch beside its numbers.
#pragma once

#include <cstdint>

#include "msltx/base/tensor.h"
#include "msltx/ops/chunks.h"

namespace msltx::model {

// Which numbers dropout draws. Generation and evaluation draw none.
struct Draw {
  bool on = false;
  uint64_t seed = 0;           // of the training
  int64_t step = 0;            // of the optimizer, from 0 on
  int64_t first_sequence = 0;  // number of the batch's first sequence within the step
};

// How a batch goes through a model.
struct Pass {
  Draw draw{};
  bool inside_documents = false;  // attention stays inside the documents of Activations
};

// The rows that a block gets at once, of whole sequences.
struct BatchPart {
  int64_t sequences = 0;
  Draw draw{};
  Tensor document_starts{};  // (sequences, T), as ops/attention.h has them; undefined: one document

  // Of a batch whose document_starts are (B, T).
  static BatchPart of(const ops::Rows& r, const Pass& pass, const Tensor& document_starts) {
    BatchPart part{r.sequences, pass.draw, {}};
    part.draw.first_sequence += r.first_sequence;
    if (pass.inside_documents) {
      part.document_starts = document_starts.rows(r.first_sequence, r.sequences);
    }
    return part;
  }
};

}  // namespace msltx::model
