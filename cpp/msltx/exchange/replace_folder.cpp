#include "msltx/exchange/replace_folder.h"

#include "msltx/base/error.h"

namespace msltx::exchange {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFresh = ".msltx-new";
constexpr std::string_view kFormer = ".msltx-old";

Path sibling(const Path& folder, std::string_view suffix) {
  return folder.parent_path() / concat(".", folder.filename().string(), suffix);
}

void rename_folder(const Path& from, const Path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) {
    throw FileError(
        concat("cannot rename ", from.string(), " to ", to.string(), ": ", error.message()));
  }
}

// Moves what is not ours from `leftover` into `folder`, then removes `leftover`.
void retire(const Path& leftover, const Path& folder, const std::set<std::string>& replaced) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(leftover, error)) {
    const Path name = entry.path().filename();
    if (replaced.contains(name.string()) || fs::exists(fs::symlink_status(folder / name))) continue;
    rename_folder(entry.path(), folder / name);
  }
  if (!error) fs::remove_all(leftover, error);
  if (error) {
    throw FileError(concat("cannot remove ", leftover.string(), ": ", error.message()));
  }
}

}  // namespace

Path fresh_sibling(const Path& folder) { return sibling(folder, kFresh); }
Path former_sibling(const Path& folder) { return sibling(folder, kFormer); }

std::optional<Path> replacement_of(const Path& path) {
  const std::string name = path.filename().string();
  for (std::string_view suffix : {kFresh, kFormer}) {
    if (name.size() > 1 + suffix.size() && name.starts_with('.') && name.ends_with(suffix)) {
      return path.parent_path() / name.substr(1, name.size() - 1 - suffix.size());
    }
  }
  return {};
}

void replace_with_fresh_sibling(const Path& folder, const std::set<std::string>& replaced) {
  const Path fresh = fresh_sibling(folder);
  const Path former = former_sibling(folder);
  if (exchange_names(fresh, folder)) {
    flush_path(parent_of(folder));
    retire(fresh, folder, replaced);
    return;
  }
  rename_folder(folder, former);
  rename_folder(fresh, folder);
  flush_path(parent_of(folder));
  retire(former, folder, replaced);
}

void recover_replacement(const Path& folder, const std::set<std::string>& replaced) {
  const Path fresh = fresh_sibling(folder);
  const Path former = former_sibling(folder);
  if (fs::is_directory(former)) {
    if (fs::exists(folder)) {
      retire(former, folder, replaced);
    } else {
      rename_folder(former, folder);
    }
  }
  if (!fs::is_directory(fresh)) return;
  std::error_code error;
  if (fs::is_directory(folder)) {
    retire(fresh, folder, replaced);
  } else {
    fs::remove_all(fresh, error);
  }
  if (error) throw FileError(concat("cannot remove ", fresh.string(), ": ", error.message()));
}

Path tidy(const Path& path) {
  Path result = path.lexically_normal();
  if (!result.has_filename()) result = result.parent_path();
  const Path name = result.filename();
  if (name == "." || name == ".." || name.empty()) result = fs::absolute(result).lexically_normal();
  return result.has_filename() ? result : result.parent_path();
}

}  // namespace msltx::exchange
