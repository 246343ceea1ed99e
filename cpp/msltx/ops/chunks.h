// Sections: row-local ops run chunk by chunk of whole sequences. With at least two chunks per
// thread a chunk is one task on a serial stream, so that its activations stay in cache through all
// layers; otherwise the section runs once over the whole batch on the parallel stream. Chunks are
// cut by shape alone and partial sums are kept per chunk, so both ways give the same bits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "msltx/ops/stream.h"

namespace msltx::ops {

// Part of a batch of B sequences of T tokens, in every unit that tensors are cut by.
struct Rows {
  int64_t first_sequence, sequences;
  int64_t first_row, rows;      // first_sequence * T, sequences * T
  int64_t first_chunk, chunks;  // for partial sums
};

struct Chunking {
  int64_t sequences = 0;  // B
  int64_t length = 0;     // T
  int64_t chunk_sequences = 1;

  // Sequences per chunk so that a chunk has about `target_rows` rows.
  static Chunking of(int64_t sequences, int64_t length, int64_t target_rows) {
    const int64_t wanted = std::min(target_rows / std::max<int64_t>(length, 1), sequences);
    return {sequences, length, std::max<int64_t>(wanted, 1)};
  }
  int64_t chunks() const { return (sequences + chunk_sequences - 1) / chunk_sequences; }
  int64_t chunk_rows() const { return chunk_sequences * length; }  // the attribute partial_rows
  Rows chunk(int64_t i) const {
    const int64_t first = i * chunk_sequences;
    const int64_t count = std::min(chunk_sequences, sequences - first);
    return {first, count, first * length, count * length, i, 1};
  }
  Rows all() const { return {0, sequences, 0, sequences * length, 0, chunks()}; }
};

enum class SectionMode { automatic, whole_batch, by_chunk };

// body(Stream&, const Rows&)
template <class Body>
void for_each_chunk(Stream& stream, const Chunking& chunking, SectionMode mode, Body&& body) {
  const bool by_chunk = mode == SectionMode::automatic
                            ? chunking.chunks() >= 2 * stream.executor().threads()
                            : mode == SectionMode::by_chunk;
  if (!by_chunk || stream.in_order() || stream.is_serial()) {
    body(stream, chunking.all());
    return;
  }
  std::vector<StreamCounts> counts(static_cast<size_t>(stream.executor().threads()));
  stream.parallel_for(chunking.chunks(), [&](int64_t task, int worker) {
    Stream serial = stream.serial(worker);
    body(serial, chunking.chunk(task));
    StreamCounts& sum = counts[static_cast<size_t>(worker)];
    sum.encodes += serial.counts().encodes;
    sum.waits += serial.counts().waits;
  });
  for (const StreamCounts& sum : counts) stream.add_counts(sum);
}

}  // namespace msltx::ops
