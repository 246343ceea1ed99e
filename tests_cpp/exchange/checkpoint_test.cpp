#include "msltx/exchange/checkpoint.h"

#include <gtest/gtest.h>

#include "exchange/crash.h"
#include "exchange/scratch_folder.h"
#include "exchange/tiny_model.h"

namespace msltx::exchange {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class CheckpointTest : public ScratchFolder {
 protected:
  // Every number of the checkpoint, in all of its files, is `value`.
  Path save(int64_t step, float value, CheckpointPolicy policy = {}) {
    const TinyModel m(value);
    const std::vector<NamedTensor> moments = {{"first.norm.weight", m.parameters[0].second}};
    const json state = {{"value", value}, {"data", {{"sequence", step * 16}}}};
    const std::string tokenizer = concat("{\"value\":", value, "}");
    return save_checkpoint(run_, step, {m.config, m.parameters, tokenizer, moments, state}, policy);
  }
  Path save(int64_t step, CheckpointPolicy policy = {}) {
    return save(step, static_cast<float>(step), policy);
  }
  // Loads it and sees that its files belong together.
  static float value_of(const Checkpoint& c) {
    const float value = c.state.at("value").get<float>();
    EXPECT_TRUE(all_are(c.model.weights, value));
    EXPECT_TRUE(all_are(c.optimizer, value));
    EXPECT_EQ(c.model.tokenizer_json, concat("{\"value\":", value, "}"));
    EXPECT_EQ(c.state.at("data").at("sequence"), c.step * 16);
    return value;
  }

  Path run_, checkpoints_;
  void SetUp() override {
    ScratchFolder::SetUp();
    run_ = folder_ / "runs" / "a";
    checkpoints_ = run_ / "checkpoints";
  }
};

TEST_F(CheckpointTest, ThereAndBack) {
  EXPECT_EQ(save(1000), checkpoints_ / "step_00001000");
  EXPECT_EQ(names_in(checkpoints_), (std::vector<std::string>{"last", "step_00001000"}));
  EXPECT_EQ(names_in(checkpoints_ / "step_00001000"),
            (std::vector<std::string>{"config.json", "model.safetensors", "optimizer.safetensors",
                                      "state.json", "tokenizer.json"}));
  for (const Path& path :
       {run_, run_ / "", checkpoints_, checkpoints_ / "last", checkpoints_ / "step_00001000"}) {
    const Checkpoint c = load_checkpoint(path);
    EXPECT_EQ(c.step, 1000);
    EXPECT_EQ(value_of(c), 1000);
    EXPECT_EQ(c.model.path, checkpoints_ / "step_00001000");
    EXPECT_TRUE(c.state.contains("library_version"));
  }
}

TEST_F(CheckpointTest, LastAndBestMove) {
  save(1);
  save(2, {.best = true});
  save(3);
  EXPECT_EQ(fs::read_symlink(checkpoints_ / "last"), Path("step_00000003"));
  EXPECT_EQ(fs::read_symlink(checkpoints_ / "best"), Path("step_00000002"));
  EXPECT_EQ(load_checkpoint(checkpoints_ / "best").step, 2);
  mark_best(run_, 1);
  EXPECT_EQ(load_checkpoint(checkpoints_ / "best").step, 1);
  EXPECT_THROW(mark_best(run_, 9), FileError);
  EXPECT_EQ(checkpoint_steps(run_), (std::vector<int64_t>{1, 2, 3}));
}

TEST_F(CheckpointTest, PruningKeepsTheNewestAndTheBest) {
  save(1, {.best = true});
  for (int64_t step = 2; step <= 6; ++step) save(step, {.keep = 2});
  EXPECT_EQ(checkpoint_steps(run_), (std::vector<int64_t>{1, 5, 6}));
  save(7, {.best = true, .keep = 1});
  EXPECT_EQ(checkpoint_steps(run_), (std::vector<int64_t>{7}));
  EXPECT_EQ(names_in(checkpoints_), (std::vector<std::string>{"best", "last", "step_00000007"}));
}

// Resumed from step 2, the run writes 3 again and 4; the steps of its earlier future go first.
TEST_F(CheckpointTest, AResumedRunReplacesItsFormerFuture) {
  for (int64_t step = 1; step <= 6; ++step) save(step);
  save(3, 33.0f, {.keep = 3});
  EXPECT_EQ(value_of(load_checkpoint(run_)), 33);
  EXPECT_EQ(checkpoint_steps(run_), (std::vector<int64_t>{1, 2, 3}));
  save(4, {.keep = 3});
  EXPECT_EQ(checkpoint_steps(run_), (std::vector<int64_t>{2, 3, 4}));
}

TEST_F(CheckpointTest, ResolvesModels) {
  const TinyModel m(1);
  save_model_folder(folder_ / "plain", m.config, m.parameters, "");
  EXPECT_EQ(resolve_model(folder_ / "plain"), folder_ / "plain");
  EXPECT_EQ(message_of([&] { load_checkpoint(folder_ / "plain"); }),
            (folder_ / "plain").string() +
                " is a model folder, not a checkpoint: it has no state.json to resume from");
  EXPECT_EQ(message_of([&] { resolve_model(folder_ / "none"); }),
            (folder_ / "none").string() + " does not exist");
  EXPECT_NE(
      message_of([&] { resolve_model(folder_); }).find("is no model folder, checkpoint or run"),
      std::string::npos);
  fs::create_directories(checkpoints_);
  EXPECT_EQ(message_of([&] { resolve_model(run_); }), run_.string() + " has no checkpoint yet");
  save(1);
  save(2);
  fs::remove(checkpoints_ / "last");
  EXPECT_EQ(resolve_model(run_), checkpoints_ / "step_00000002");
  fs::create_symlink("step_00000009", checkpoints_ / "last");
  EXPECT_EQ(resolve_model(run_), checkpoints_ / "step_00000002");
  write_file(folder_ / "file", "x");
  EXPECT_NE(message_of([&] { resolve_model(folder_ / "file"); }).find("is no model folder"),
            std::string::npos);
}

TEST_F(CheckpointTest, PassesDamagedCheckpointsOverAndSaysSo) {
  for (int64_t step = 1; step <= 3; ++step) save(step);
  std::vector<DamagedCheckpoint> passed_over;
  EXPECT_EQ(resolve_model(run_, &passed_over), checkpoints_ / "step_00000003");
  EXPECT_TRUE(passed_over.empty());
  fs::remove(checkpoints_ / "step_00000003" / "model.safetensors");
  fs::remove(checkpoints_ / "step_00000002" / "model.safetensors");
  fs::remove(checkpoints_ / "step_00000002" / "config.json");
  EXPECT_EQ(resolve_model(run_, &passed_over), checkpoints_ / "step_00000001");
  ASSERT_EQ(passed_over.size(), 2u);
  EXPECT_EQ(passed_over[0].folder, checkpoints_ / "step_00000003");
  EXPECT_EQ(passed_over[0].missing, (std::vector<std::string>{"model.safetensors"}));
  EXPECT_EQ(passed_over[1].folder, checkpoints_ / "step_00000002");
  EXPECT_EQ(passed_over[1].missing, (std::vector<std::string>{"config.json", "model.safetensors"}));
}

TEST_F(CheckpointTest, RefusesWhatItDoesNotRead) {
  const Path step = save(1);
  const auto refusal_with = [&](const char* name, std::string_view text) {
    const std::string before = read_file(step / name);
    write_file(step / name, text);
    const std::string message = message_of([&] { load_checkpoint(run_); });
    write_file(step / name, before);
    return message.substr(std::min(message.size(), (step / name).string().size() + 2));
  };
  const std::string state = read_file(step / "state.json");
  EXPECT_EQ(refusal_with("state.json", "{\"format\":\"msltx-checkpoint\",\"version\":2}"),
            "version is 2, newer than this msltx reads (1)");
  EXPECT_EQ(refusal_with("state.json", "{\"format\":\"msltx-checkpoint\",\"version\":1}"),
            "step is missing or no count");
  EXPECT_EQ(refusal_with("state.json", "{\"epoch\": 3}"),
            "format is missing; it must be \"msltx-checkpoint\"");
  EXPECT_NE(refusal_with("state.json", state.substr(0, state.size() / 2)).find("truncated"),
            std::string::npos);
  const std::string moments = read_file(step / "optimizer.safetensors");
  EXPECT_NE(refusal_with("optimizer.safetensors", moments.substr(0, moments.size() - 1))
                .find("truncated"),
            std::string::npos);
  EXPECT_EQ(refusal_with("optimizer.safetensors", read_file(step / "model.safetensors")),
            "content is model; it must be optimizer");
  EXPECT_EQ(message_of([&] { save(-1); }), "step is -1; it takes 0 or more");
  EXPECT_EQ(message_of([&] { save(2, {.keep = -1}); }),
            "keep_checkpoints is -1; it takes 0 (all) or more");
}

// Every call that changes the file system kills, or fails, in turn: the run loads, each checkpoint
// is whole, and the next save clears what was left.
TEST_F(CheckpointTest, SlowSavingSurvivesAKillAndAFailureAnywhere) {
  for (CrashPlan plan : {CrashPlan{}, CrashPlan{.fails = true}}) {
    bool saw_old = false, saw_new = false, through = false;
    for (plan.at = 0; !through; ++plan.at) {
      save(1);
      save(2, {.best = true});
      const Outcome outcome = run_in_child(plan, [&] { save(3, {.best = true, .keep = 1}); });
      through = !outcome.reached;
      const Checkpoint c = load_checkpoint(run_);
      EXPECT_EQ(value_of(c), static_cast<float>(c.step));
      (c.step == 2 ? saw_old : saw_new) = true;
      EXPECT_TRUE(c.step == 2 || c.step == 3) << c.step;
      EXPECT_GE(load_checkpoint(checkpoints_ / "best").step, 2) << plan.at;
      for (int64_t step : checkpoint_steps(run_)) {
        EXPECT_EQ(value_of(load_checkpoint(checkpoints_ / concat("step_0000000", step))),
                  static_cast<float>(step));
      }
      save(4, {.best = true, .keep = 1});
      EXPECT_EQ(names_in(checkpoints_), (std::vector<std::string>{"best", "last", "step_00000004"}))
          << plan.at;
      fs::remove_all(run_);
    }
    EXPECT_TRUE(saw_old && saw_new);
    EXPECT_GT(plan.at, 30);
  }
}

TEST_F(CheckpointTest, SlowReplacingAStepSurvivesAKillAndAFailureAnywhere) {
  for (CrashPlan plan : {CrashPlan{}, CrashPlan{.fails = true}, CrashPlan{.names_exchange = false},
                         CrashPlan{.fails = true, .names_exchange = false}}) {
    bool through = false;
    for (plan.at = 0; !through; ++plan.at) {
      save(1);
      const Outcome outcome = run_in_child(plan, [&] { save(1, 11.0f); });
      through = !outcome.reached;
      const float value = value_of(load_checkpoint(run_));
      EXPECT_TRUE(value == 1 || value == 11) << value;
      if (outcome.ending == Ending::finished) {
        EXPECT_EQ(value, 11);
      }
      save(2);
      EXPECT_EQ(names_in(checkpoints_),
                (std::vector<std::string>{"last", "step_00000001", "step_00000002"}))
          << plan.at;
      fs::remove_all(run_);
    }
  }
}

// A disk that takes no file beyond some size, and a process killed in the midst of such a write.
TEST_F(CheckpointTest, AFullDiskLosesNothing) {
  const Path first = save(1, {.best = true});
  const auto size = static_cast<long>(fs::file_size(first / "model.safetensors"));
  for (const bool kills : {false, true}) {
    for (long limit = 0; limit < size; limit += size / 7) {
      const Outcome outcome = run_in_child({.largest_file = limit, .full_disk_kills = kills},
                                           [&] { save(2, {.best = true, .keep = 1}); });
      EXPECT_EQ(outcome.ending, kills ? Ending::killed : Ending::refused);
      EXPECT_EQ(load_checkpoint(run_).step, 1);
      EXPECT_EQ(load_checkpoint(checkpoints_ / "best").step, 1);
      if (!kills) {
        EXPECT_NE(outcome.message.find("cannot write"), std::string::npos) << outcome.message;
        EXPECT_EQ(names_in(checkpoints_).size(), 3u);
      }
    }
  }
  save(2);
  EXPECT_EQ(names_in(checkpoints_),
            (std::vector<std::string>{"best", "last", "step_00000001", "step_00000002"}));
}

// One small checkpoint per version of the format stays in the repository and must load for ever.
TEST_F(CheckpointTest, OldVersionsLoad) {
  const Path old = Path(MSLTX_SOURCE_DIR) / "tests_cpp" / "exchange" / "old";
  const Checkpoint c = load_checkpoint(old / "checkpoint_v1");
  EXPECT_EQ(c.step, 7);
  EXPECT_EQ(value_of(c), 7);
  EXPECT_EQ(c.model.config, TinyModel(7).config);
}

}  // namespace
}  // namespace msltx::exchange
