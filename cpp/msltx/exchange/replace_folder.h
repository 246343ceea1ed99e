// Puts a finished folder in the place of another one, so that at every moment, and after a crash at
// any moment, one of the two is there whole.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "msltx/base/file.h"

namespace msltx::exchange {

// Where a folder stands while it is written, and where the old one stands for a moment on file
// systems that cannot exchange two names at once. Hidden names that nobody else would choose.
Path fresh_sibling(const Path& folder);   // .FOLDER.msltx-new
Path former_sibling(const Path& folder);  // .FOLDER.msltx-old

// The folder whose fresh or former sibling this is.
std::optional<Path> replacement_of(const Path& sibling);

// Exchanges FOLDER with its fresh sibling, which is complete and flushed, then removes the old one.
// Entries of the old folder whose names are not in `replaced` move over: they are not ours to drop.
void replace_with_fresh_sibling(const Path& folder, const std::set<std::string>& replaced);

// Finishes or undoes what an earlier, killed replacement of FOLDER left behind.
void recover_replacement(const Path& folder, const std::set<std::string>& replaced);

// `path` without a slash at its end, and as an absolute path where it is "." or "..".
Path tidy(const Path& path);

}  // namespace msltx::exchange
