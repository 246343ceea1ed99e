// From counted pieces to the parts of a tokenizer: the model of a kind, its special tokens, and
// what stands around it.
#pragma once

#include "msltx/base/executor.h"
#include "msltx/text/piece_table.h"
#include "msltx/text/progress.h"
#include "msltx/text/tokenizer.h"
#include "msltx/text/train_options.h"
#include "msltx/text/train_pipeline.h"

namespace msltx::text {

// Throws ValueError for numbers that no text makes right: a vocabulary without room for the special
// tokens and the bytes, for one.
void check_sizes(const TrainOptions& options, TrainedModel model);

// Throws ValueError where vocab_size has no room for the alphabet of the text.
TokenizerSpec train_spec(const PieceCounts& pieces, const TrainOptions& options,
                         const TrainPipeline& pipeline, Executor& executor,
                         const ProgressFn& progress);

}  // namespace msltx::text
