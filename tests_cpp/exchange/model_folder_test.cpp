#include "msltx/exchange/model_folder.h"

#include <gtest/gtest.h>

#include "exchange/crash.h"
#include "exchange/scratch_folder.h"
#include "exchange/tiny_model.h"
#include "msltx/exchange/json_document.h"

namespace msltx::exchange {
namespace {

namespace fs = std::filesystem;

class ModelFolderTest : public ScratchFolder {
 protected:
  void save(const TinyModel& m, const Path& path, std::string_view tokenizer = "{}") {
    save_model_folder(path, m.config, m.parameters, tokenizer);
  }
  // Which of the models made with 1 and 2 stands there, whole, its tokenizer.json included.
  float value_at(const Path& path) {
    const ModelFolder folder = load_model_folder(path);
    const float value = *folder.weights.tensor("norm.weight").data();
    EXPECT_TRUE(all_are(folder.weights, value));
    EXPECT_EQ(folder.tokenizer_json, value == 1 ? "{\"one\":1}" : "{\"two\":2}");
    return value;
  }
};

TEST_F(ModelFolderTest, ThereAndBack) {
  const TinyModel m(1.5f);
  save(m, folder_ / "m", "{\"t\": 1}");
  EXPECT_EQ(names_in(folder_), std::vector<std::string>{"m"});
  EXPECT_EQ(names_in(folder_ / "m"),
            (std::vector<std::string>{"config.json", "model.safetensors", "tokenizer.json"}));
  for (const Path& path : {folder_ / "m", folder_ / "m/", folder_ / "." / "m"}) {
    const ModelFolder folder = load_model_folder(path);
    EXPECT_EQ(folder.config, m.config);
    EXPECT_EQ(folder.tokenizer_json, "{\"t\": 1}");
    EXPECT_TRUE(all_are(folder.weights, 1.5f));
    EXPECT_EQ(folder.weights.metadata(), container_metadata("model"));
  }
}

TEST_F(ModelFolderTest, WithoutTokenizer) {
  save(TinyModel(1), folder_ / "m", "");
  EXPECT_EQ(load_model_folder(folder_ / "m").tokenizer_json, "");
}

TEST_F(ModelFolderTest, ReplacesAModelAndKeepsWhatIsNotOurs) {
  save(TinyModel(1), folder_ / "m", "{}");
  write_file(folder_ / "m" / "README.md", "mine");
  fs::create_directory(folder_ / "m" / "notes");
  save(TinyModel(2), folder_ / "m/", "");
  EXPECT_EQ(names_in(folder_), std::vector<std::string>{"m"});
  EXPECT_EQ(names_in(folder_ / "m"),
            (std::vector<std::string>{"README.md", "config.json", "model.safetensors", "notes"}));
  EXPECT_TRUE(all_are(load_model_folder(folder_ / "m").weights, 2));
}

TEST_F(ModelFolderTest, AnEmptyFolderIsFilledAndALinkFollowed) {
  fs::create_directory(folder_ / "m");
  save(TinyModel(1), folder_ / "m");
  fs::create_symlink("m", folder_ / "link");
  save(TinyModel(2), folder_ / "link");
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_TRUE(all_are(load_model_folder(folder_ / "m").weights, 2));
}

TEST_F(ModelFolderTest, AnythingElseIsLeftAlone) {
  fs::create_directory(folder_ / "photos");
  write_file(folder_ / "photos" / "a.jpg", "x");
  write_file(folder_ / "file", "x");
  save(TinyModel(1), folder_ / "step");
  write_file(folder_ / "step" / "state.json", "{}");
  for (const char* name : {"photos", "file"}) {
    EXPECT_EQ(message_of([&] { save(TinyModel(2), folder_ / name); }),
              (folder_ / name).string() + " exists and is no model folder; choose another name");
  }
  EXPECT_EQ(
      message_of([&] { save(TinyModel(2), folder_ / "step"); }),
      (folder_ / "step").string() + " is a checkpoint, which never changes; choose another name");
  EXPECT_EQ(names_in(folder_), (std::vector<std::string>{"file", "photos", "step"}));
}

TEST_F(ModelFolderTest, RefusesWhatDoesNotFit) {
  const TinyModel m(1);
  const Path weights = folder_ / "m" / "model.safetensors";
  const auto refusal_with = [&](const std::vector<NamedTensor>& tensors, const Metadata& metadata) {
    fs::remove_all(folder_ / "m");
    save(m, folder_ / "m");
    write_safetensors(weights, tensors, metadata);
    const std::string text = message_of([&] { load_model_folder(folder_ / "m"); });
    return text.empty() ? text : text.substr(weights.string().size() + 2);
  };
  EXPECT_EQ(refusal_with(m.parameters, {}), "");  // as another program would save it
  EXPECT_EQ(refusal_with(m.parameters, {{"format", "pt"}}), "");
  EXPECT_EQ(refusal_with(m.parameters, container_metadata("optimizer")),
            "content is optimizer; it must be model");
  EXPECT_EQ(
      refusal_with(m.parameters, {{"format", "msltx"}, {"version", "2"}, {"content", "model"}}),
      "version is 2, newer than this msltx reads (1)");
  EXPECT_EQ(refusal_with(m.parameters, {{"format", "msltx"}, {"version", "x"}}),
            "version is \"x\"; it must be an integer from 1 to 1");
  auto fewer = m.parameters;
  fewer.erase(fewer.begin());
  EXPECT_EQ(refusal_with(fewer, {}), "there is no tensor embed.tokens.weight");
  auto more = m.parameters;
  more.emplace_back("zzz", m.parameters[0].second);
  EXPECT_EQ(refusal_with(more, {}), "tensor zzz is no parameter of a model with this config.json");
  auto reshaped = m.parameters;
  reshaped[0].second = reshaped[0].second.reshape({4, 5});
  EXPECT_EQ(refusal_with(reshaped, {}),
            "embed.tokens.weight has shape (4, 5); config.json makes it (5, 4)");
  auto whole = m.parameters;
  whole[0].second.dtype = DType::int32;
  EXPECT_EQ(refusal_with(whole, {}),
            "embed.tokens.weight has dtype I32; a model's are F32, BF16 or F16");
}

TEST_F(ModelFolderTest, RefusesAForeignConfig) {
  save(TinyModel(1), folder_ / "m");
  const Path config = folder_ / "m" / "config.json";
  write_file(config, "{\"n_embd\": 768, \"model_type\": \"gpt2\"}");
  EXPECT_EQ(message_of([&] { load_model_folder(folder_ / "m"); }),
            config.string() + ": format is missing; it must be \"msltx-config\"");
  write_file(config, "{\"format\": \"msltx-config\", \"version\": 1, \"vocab_size\": 0}");
  EXPECT_EQ(message_of([&] { load_model_folder(folder_ / "m"); }),
            config.string() + ": vocab_size is 0; it takes an integer from 1 to 16777216");
}

// Every call that changes the file system kills, or fails, in turn, on a file system that exchanges
// names and on one that does not: the old or the new model loads, the next save leaves nothing
// behind.
TEST_F(ModelFolderTest, SlowReplacingSurvivesAKillAndAFailureAnywhere) {
  const TinyModel one(1), two(2);
  const Path path = folder_ / "m";
  for (CrashPlan plan : {CrashPlan{}, CrashPlan{.fails = true}, CrashPlan{.names_exchange = false},
                         CrashPlan{.fails = true, .names_exchange = false}}) {
    bool saw_old = false, saw_new = false, through = false;
    for (plan.at = 0; !through; ++plan.at) {
      save(one, path, "{\"one\":1}");
      write_file(path / "README.md", "mine");
      const Outcome outcome = run_in_child(plan, [&] { save(two, path, "{\"two\":2}"); });
      through = !outcome.reached;
      (value_at(path) == 1 ? saw_old : saw_new) = true;
      if (outcome.ending == Ending::finished) {
        EXPECT_EQ(value_at(path), 2);
      }
      save(two, path, "{\"two\":2}");
      EXPECT_EQ(value_at(path), 2);
      EXPECT_EQ(read_file(path / "README.md"), "mine") << plan.at;
      for (const std::string& name : names_in(folder_)) {
        EXPECT_TRUE(name == "m" || name.starts_with(".m.msltx-new.tmp-")) << name;
      }
      fs::remove_all(folder_);
      fs::create_directory(folder_);
    }
    EXPECT_TRUE(saw_old && saw_new);
    EXPECT_GT(plan.at, 15);
  }
}

TEST_F(ModelFolderTest, AFullDiskLeavesTheOldModel) {
  const TinyModel one(1), two(2);
  const Path path = folder_ / "m";
  save(one, path, "{\"one\":1}");
  const auto size = static_cast<long>(fs::file_size(path / "model.safetensors"));
  for (long limit = 0; limit < size; limit += size / 7) {
    const Outcome outcome =
        run_in_child({.largest_file = limit}, [&] { save(two, path, "{\"two\":2}"); });
    EXPECT_EQ(outcome.ending, Ending::refused);
    EXPECT_NE(outcome.message.find("cannot write"), std::string::npos) << outcome.message;
    EXPECT_EQ(value_at(path), 1);
    EXPECT_EQ(names_in(folder_), std::vector<std::string>{"m"});
  }
}

}  // namespace
}  // namespace msltx::exchange
