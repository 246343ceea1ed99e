// Models in the first format of llama2.c: a header of seven int32 (width, feed-forward width,
// layers, heads, key/value heads, vocabulary, context), then float32 tensors without names. Read
// only. A file says nothing of its format; its size is what tells it from others.
#pragma once

#include <memory>

#include "msltx/base/file.h"
#include "msltx/model/gpt.h"

namespace msltx::exchange {

// Throws FileError where header and size do not agree. The file rotates neighbouring pairs of a
// head, msltx pairs that lie half a head apart: the rows of queries and keys change places.
std::unique_ptr<model::GPT> load_llama2c(const Path& path, const model::GPTOptions& options);

}  // namespace msltx::exchange
