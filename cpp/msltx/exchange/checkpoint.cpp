#include "msltx/exchange/checkpoint.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>
#include <set>
#include <string>

#include "msltx/base/error.h"
#include "msltx/exchange/json_document.h"
#include "msltx/exchange/replace_folder.h"

namespace msltx::exchange {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFolder = "checkpoints";
constexpr const char* kLast = "last";
constexpr const char* kBest = "best";
constexpr const char* kStep = "step_";
constexpr int kStepDigits = 8;  // so that names sort as numbers up to 10^8 steps
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kState = "state.json";
constexpr const char* kStateFormat = "msltx-checkpoint";
constexpr int64_t kStateVersion = 1;

std::string step_name(int64_t step) {
  std::string digits = std::to_string(step);
  const auto missing = kStepDigits - static_cast<int>(digits.size());
  if (missing > 0) digits.insert(0, static_cast<size_t>(missing), '0');
  return kStep + digits;
}

std::optional<int64_t> number_in(std::string_view text) {
  int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size())
    return {};
  return value;
}

std::optional<int64_t> step_of(const Path& name) {
  const std::string text = name.string();
  if (!text.starts_with(kStep)) return {};
  const auto step = number_in(std::string_view(text).substr(std::string_view(kStep).size()));
  return step && text == step_name(*step) ? step : std::nullopt;
}

// The step a link beside the checkpoints points at.
std::optional<int64_t> linked_step(const Path& folder, const char* link) {
  std::error_code error;
  const Path target = fs::read_symlink(folder / link, error);
  return error ? std::nullopt : step_of(target.filename());
}

std::vector<int64_t> steps_in(const Path& folder) {
  std::vector<int64_t> steps;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (const auto step = step_of(entry.path().filename())) steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

Path removal_name(const Path& folder) {
  Path name = folder;
  name += concat(".tmp-", getpid());
  return name;
}

const std::set<std::string>& our_files() {
  static const std::set<std::string> names = {"config.json", "model.safetensors", "tokenizer.json",
                                              kOptimizer, kState};
  return names;
}

// Clears what killed processes left: half-written and half-removed folders, and replacements. This
// process has none of its own when it begins a save, so its number (in a container often the same
// again) counts as gone.
void sweep(const Path& folder) {
  constexpr std::string_view kTemporary = ".tmp-";
  std::error_code error;
  std::vector<Path> leftovers;
  for (const auto& entry : fs::directory_iterator(folder, error)) leftovers.push_back(entry.path());
  for (const Path& path : leftovers) {
    if (const auto replaced = replacement_of(path)) {
      if (step_of(replaced->filename())) recover_replacement(*replaced, our_files());
      continue;
    }
    const std::string name = path.filename().string();
    const size_t at = name.rfind(kTemporary);
    if (at == std::string::npos) continue;
    std::string_view number = std::string_view(name).substr(at + kTemporary.size());
    number = number.substr(0, number.find('-'));  // the process; then its count of such names
    const auto process = number_in(number);
    if (!process) continue;
    const auto id = static_cast<pid_t>(*process);
    if (id == getpid() || (kill(id, 0) != 0 && errno == ESRCH)) fs::remove_all(path, error);
  }
}

void make_folder(const Path& folder) {
  std::error_code error;
  std::vector<Path> changed;
  for (Path p = folder; !fs::exists(p, error); p = parent_of(p)) changed.push_back(parent_of(p));
  fs::create_directories(folder, error);
  if (error) throw FileError(concat("cannot create ", folder.string(), ": ", error.message()));
  for (const Path& p : changed) flush_path(p);
}

// A checkpoint leaves in one rename: no half of it can be taken for a whole.
void remove_checkpoint(const Path& folder) {
  std::error_code error;
  const Path leaving = removal_name(folder);
  fs::rename(folder, leaving, error);
  if (!error) fs::remove_all(leaving, error);
  if (error) throw FileError(concat("cannot remove ", folder.string(), ": ", error.message()));
}

// Steps beyond `last` belong to a past that a resume has left: they go first.
void prune(const Path& folder, int64_t keep) {
  const auto last = linked_step(folder, kLast);
  const auto best = linked_step(folder, kBest);
  std::vector<int64_t> others;  // besides last, which is the first of those to keep
  for (int64_t step : steps_in(folder)) {
    if (step != last && step != best) others.push_back(step);
  }
  const auto left_behind = [&](int64_t step) { return last && step > *last; };
  std::stable_partition(others.begin(), others.end(), left_behind);
  for (size_t i = 0; i + static_cast<size_t>(keep - 1) < others.size(); ++i) {
    remove_checkpoint(folder / step_name(others[i]));
  }
}

void write_files(const Path& folder, int64_t step, const CheckpointContents& contents) {
  write_model_files(folder, contents.config, contents.parameters, contents.tokenizer_json);
  write_safetensors(folder / kOptimizer, contents.optimizer, container_metadata("optimizer"));
  json state = contents.state;
  state["step"] = step;
  state["library_version"] = MSLTX_VERSION;
  write_json_document(folder / kState, kStateFormat, kStateVersion, state);
}

}  // namespace

Path save_checkpoint(const Path& run, int64_t step, const CheckpointContents& contents,
                     const CheckpointPolicy& policy) {
  if (step < 0) throw ValueError(concat("step is ", step, "; it takes 0 or more"));
  if (policy.keep < 0) {
    throw ValueError(concat("keep_checkpoints is ", policy.keep, "; it takes 0 (all) or more"));
  }
  if (!contents.state.is_object()) throw ValueError("state is no JSON object");
  const Path folder = tidy(run) / kFolder;
  const Path place = folder / step_name(step);
  make_folder(folder);
  sweep(folder);
  const bool replace = fs::exists(place);
  AtomicFolder fresh(replace ? fresh_sibling(place) : place);
  write_files(fresh.path(), step, contents);
  fresh.commit();
  if (replace) replace_with_fresh_sibling(place, our_files());
  replace_symlink(folder / kLast, step_name(step));
  if (policy.best) replace_symlink(folder / kBest, step_name(step));
  if (policy.keep > 0) prune(folder, policy.keep);
  return place;
}

void mark_best(const Path& run, int64_t step) {
  const Path folder = tidy(run) / kFolder;
  if (!fs::is_directory(folder / step_name(step))) {
    throw FileError(concat((folder / step_name(step)).string(), " does not exist"));
  }
  replace_symlink(folder / kBest, step_name(step));
}

Checkpoint load_checkpoint(const Path& run_or_step) {
  const Path folder = resolve_model(run_or_step);
  if (!fs::exists(folder / kState)) {
    throw FileError(concat(folder.string(), " is a model folder, not a checkpoint: it has no ",
                           kState, " to resume from"));
  }
  Checkpoint checkpoint;
  checkpoint.state = read_json_document(folder / kState, kStateFormat, kStateVersion);
  const json step = checkpoint.state.value("step", json());
  if (!step.is_number_integer() || step < 0) {
    throw FileError(concat((folder / kState).string(), ": step is missing or no count"));
  }
  checkpoint.step = step.get<int64_t>();
  checkpoint.model = load_model_folder(folder);
  checkpoint.optimizer = SafetensorsFile(folder / kOptimizer);
  check_container(checkpoint.optimizer, "optimizer");
  return checkpoint;
}

std::vector<int64_t> checkpoint_steps(const Path& run) { return steps_in(tidy(run) / kFolder); }

Path resolve_model(const Path& model, std::vector<DamagedCheckpoint>* passed_over) {
  Path path = tidy(model);
  std::error_code error;
  if (fs::is_symlink(path, error)) {  // so that a link that moves meanwhile changes nothing
    const Path target = fs::read_symlink(path, error);
    if (!error) path = tidy(parent_of(path) / target);
  }
  if (const auto found = whole_model(path)) return *found;
  if (!fs::exists(path, error)) throw FileError(concat(path.string(), " does not exist"));
  const Path folder = path.filename() == kFolder ? path : path / kFolder;
  if (!fs::is_directory(folder, error)) {
    throw FileError(concat(path.string(), " is no model folder, checkpoint or run: it has no ",
                           "config.json with model.safetensors and no folder ", kFolder));
  }
  std::vector<int64_t> steps = steps_in(folder);
  if (const auto last = linked_step(folder, kLast)) steps.push_back(*last);
  while (!steps.empty()) {  // without a `last` that leads somewhere, the newest
    const int64_t newest = steps.back();
    const Path step = folder / step_name(newest);
    if (const auto found = whole_model(step)) return *found;
    if (passed_over) passed_over->push_back({step, missing_model_files(step)});
    std::erase(steps, newest);
  }
  throw FileError(concat(path.string(), " has no checkpoint yet"));
}

}  // namespace msltx::exchange
