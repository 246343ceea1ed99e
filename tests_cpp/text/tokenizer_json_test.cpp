#include "msltx/text/tokenizer_json.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "msltx/text/byte_alphabet.h"
#include "text/temporary_folder.h"

namespace msltx::text {
namespace {

using json = nlohmann::json;

// A whole tokenizer.json with one merge, in the older writing of the Hugging Face library.
json small_tokenizer() {
  json vocabulary = json::object();
  for (int b = 0; b < 256; ++b) {
    const char c = static_cast<char>(b);
    vocabulary[to_byte_alphabet({&c, 1})] = b;
  }
  vocabulary["ab"] = 256;
  vocabulary["<|endoftext|>"] = 257;
  return {{"version", "1.0"},
          {"added_tokens",
           json::array({{{"id", 257}, {"content", "<|endoftext|>"}, {"special", true}}})},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"vocab", vocabulary}, {"merges", {"a b"}}}}};
}

std::string complaint(const std::function<void(json&)>& change) {
  json root = small_tokenizer();
  change(root);
  return message_of<FileError>([&] { Tokenizer::from_json(root.dump(), "t.json"); });
}

using Ids = std::vector<int32_t>;

TEST(TokenizerJson, ReadsOlderAndNewerWriting) {
  json root = small_tokenizer();
  const Tokenizer older = Tokenizer::from_json(root.dump());
  root["model"]["merges"] = json::array({json::array({"a", "b"})});
  root["model"]["type"] = "BPE";
  const Tokenizer newer = Tokenizer::from_json(root.dump());
  for (const Tokenizer* tokenizer : {&older, &newer}) {
    EXPECT_EQ(tokenizer->encode("abc<|endoftext|>"), (Ids{256, 'c', 257}));
    EXPECT_EQ(tokenizer->roles().eos, 257);
    EXPECT_EQ(tokenizer->roles().pad, std::nullopt);
  }
  EXPECT_TRUE(older.to_json() == newer.to_json());
}

TEST(TokenizerJson, DeepNestingIsRefused) {
  const std::string deep = std::string(1 << 20, '[') + std::string(1 << 20, ']');
  const std::string message = message_of<FileError>(
      [&] { Tokenizer::from_json(concat("{\"version\":", deep, "}"), "t.json"); });
  EXPECT_EQ(message, "t.json is nested deeper than 64 levels");
}

TEST(TokenizerJson, AddedTokensDecodeToWhatTheyAreInText) {
  json root = small_tokenizer();
  root["added_tokens"].push_back({{"id", 258}, {"content", "<d\u00e9but>"}, {"special", true}});
  const Tokenizer tokenizer = Tokenizer::from_json(root.dump());
  EXPECT_EQ(tokenizer.encode("<d\u00e9but>"), Ids{258});
  EXPECT_EQ(tokenizer.decode(Ids{'a', 258}), "a<d\u00e9but>");
  // One that plain text gives too stays what it is there: "\u0120ab" is a space and "ab".
  root["added_tokens"].push_back({{"id", 259}, {"content", "\u0120ab"}});
  root["model"]["merges"].push_back("\u0120 ab");
  EXPECT_EQ(Tokenizer::from_json(root.dump()).decode(Ids{259}), " ab");
}

TEST(TokenizerJson, AddedTokensMayFollowTheVocabulary) {
  json root = small_tokenizer();
  root["added_tokens"].push_back({{"id", 258}, {"content", "[new one]"}, {"special", false}});
  const Tokenizer tokenizer = Tokenizer::from_json(root.dump());
  EXPECT_EQ(tokenizer.vocab_size(), 259);
  EXPECT_EQ(tokenizer.encode("ab[new one]"), (Ids{256, 258}));
  EXPECT_EQ(tokenizer.decode(Ids{258}, true), "[new one]");
  EXPECT_EQ(Tokenizer::from_json(tokenizer.to_json()).encode("[new one]"), Ids{258});
}

TEST(TokenizerJson, PrefixSpaceNormalizerAndTemplate) {
  json root = small_tokenizer();
  root["pre_tokenizer"]["add_prefix_space"] = true;
  root["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "Lowercase"}}}}};
  root["post_processor"] = {
      {"type", "Sequence"},
      {"processors",
       {{{"type", "ByteLevel"}},
        {{"type", "TemplateProcessing"},
         {"single",
          {{{"SpecialToken", {{"id", "E"}, {"type_id", 0}}}},
           {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
         {"pair", json::array()},
         {"special_tokens",
          {{"E", {{"id", "E"}, {"ids", {257, 257}}, {"tokens", {"x", "y"}}}}}}}}}};
  const Tokenizer tokenizer = Tokenizer::from_json(root.dump());
  const Tokenizer again = Tokenizer::from_json(tokenizer.to_json());
  for (const Tokenizer* t : {&tokenizer, &again}) {
    EXPECT_EQ(t->encode("AB", true), (Ids{257, 257, ' ', 256}));
    EXPECT_EQ(t->encode(" ab<|endoftext|>AB"), (Ids{' ', 256, 257, ' ', 256}));
    // A token that is looked for in normalized text is itself normalized.
    EXPECT_EQ(t->encode("<|EndOfText|>"), Ids{257});
  }
}

TEST(TokenizerJson, UnknownPartsAreNamed) {
  EXPECT_EQ(complaint([](json&) {}), "");
  EXPECT_EQ(complaint([](json& t) { t["model"]["type"] = "Foo"; }),
            "t.json has model Foo, which is not supported");
  for (const char* part : {"normalizer", "pre_tokenizer", "decoder", "post_processor"}) {
    EXPECT_EQ(complaint([&](json& t) { t[part] = {{"type", "Foo"}}; }),
              concat("t.json has ", part, " Foo, which is not supported"));
    EXPECT_EQ(complaint([&](json& t) { t[part] = {{"kind", "Foo"}}; }),
              concat("t.json has ", part, " without a type"));
  }
  EXPECT_EQ(complaint([](json& t) { t["model"]["dropout"] = 0.5; }),
            "t.json has model option dropout 0.5, which is not supported");
  EXPECT_EQ(complaint([](json& t) {
              t["pre_tokenizer"] = {{"type", "Split"},
                                    {"pattern", {{"Regex", "(a"}}},
                                    {"behavior", "Isolated"},
                                    {"invert", false}};
            }),
            "t.json cannot be read: the expression (a has a ( without )");
  EXPECT_EQ(complaint([](json& t) { t["version"] = "2.0"; }),
            "t.json has version \"2.0\"; 1.0 is read");
}

TEST(TokenizerJson, SplitPatternsAndIgnoredMerges) {
  json root = small_tokenizer();
  root["model"]["ignore_merges"] = true;
  root["model"]["merges"] = json::array();
  for (const char* name : {"cl100k", "o200k", "llama3", "qwen2"}) {
    const SplitPattern pattern = *split_pattern_from_name(name);
    root["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"},
           {"pattern", {{"Regex", regex_of(pattern)}}},
           {"behavior", "Isolated"},
           {"invert", false}},
          {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
    const Tokenizer tokenizer = Tokenizer::from_json(root.dump());
    EXPECT_EQ(tokenizer.spec().split, pattern);
    // "ab" is a whole piece here, and no merge makes it.
    EXPECT_EQ(tokenizer.encode("ab,abc"), (Ids{256, ',', 'a', 'b', 'c'}));
    EXPECT_TRUE(Tokenizer::from_json(tokenizer.to_json()).to_json() == tokenizer.to_json());
  }
}

TEST(TokenizerJson, NumbersAndNamesAreChecked) {
  const std::vector<std::function<void(json&)>> changes{
      [](json& t) { t["model"]["vocab"]["ab"] = 2000000; },
      [](json& t) { t["model"]["vocab"]["ab"] = 255; },
      [](json& t) { t["model"]["vocab"]["ab"] = -1; },
      [](json& t) { t["model"]["vocab"]["ab"] = 256.5; },
      [](json& t) { t["model"]["vocab"]["ab"] = 18446744073709551615u; },
      [](json& t) { t["model"]["vocab"]["ab"] = "x"; },
      [](json& t) { t["model"].erase("vocab"); },
      [](json& t) { t["model"].erase("merges"); },
      [](json& t) { t.erase("model"); },
      [](json& t) { t["model"] = 5; },
      [](json& t) { t["model"]["merges"] = {"a  b"}; },
      [](json& t) { t["model"]["merges"] = {"ab"}; },
      [](json& t) { t["model"]["merges"] = {"b c"}; },
      [](json& t) { t["model"]["merges"] = {"a xyz"}; },
      [](json& t) { t["model"]["merges"] = {{"a", 5}}; },
      [](json& t) { t["model"]["merges"] = 5; },
      [](json& t) { t["added_tokens"][0]["id"] = 300; },
      [](json& t) { t["added_tokens"][0]["id"] = 5; },
      [](json& t) { t["added_tokens"][0]["content"] = "other"; },
      [](json& t) { t["added_tokens"][0]["content"] = ""; },
      [](json& t) { t["added_tokens"] = "none"; },
      [](json& t) { t["added_tokens"] = {5}; },
      [](json& t) { t["decoder"] = 5; },
      [](json& t) { t["pre_tokenizer"] = {{"type", 5}}; },
      [](json& t) { t["post_processor"] = {{"type", "TemplateProcessing"}}; },
      [](json& t) {
        t["post_processor"] = {{"type", "TemplateProcessing"},
                               {"single", {{{"SpecialToken", {{"id", "E"}}}}}},
                               {"special_tokens", {{"E", {{"ids", {9999}}}}}}};
      },
      [](json& t) { t = json::array(); },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    const std::string message = complaint(changes[i]);
    EXPECT_TRUE(message.starts_with("t.json")) << "change " << i << ": '" << message << "'";
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

TEST(TokenizerJson, PostProcessorsAddKnownTokensAndRepeatLittle) {
  const auto processed = [](int id, int texts, int times) {
    const json special{{"SpecialToken", {{"id", "x"}, {"type_id", 0}}}};
    json single = json::array({special});
    for (int i = 0; i < texts; ++i) single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
    const json part{{"type", "TemplateProcessing"},
                    {"single", single},
                    {"special_tokens", {{"x", {{"ids", {id}}, {"tokens", {"x"}}}}}}};
    json parts = json::array();
    for (int i = 0; i < times; ++i) parts.push_back(part);
    return complaint([&](json& root) {
      root["post_processor"] = {{"type", "Sequence"}, {"processors", parts}};
    });
  };
  EXPECT_EQ(processed(257, 2, 6), "");
  EXPECT_EQ(processed(258, 2, 1),
            "t.json: the post-processor adds token id 258; the vocabulary has 258");
  EXPECT_EQ(
      processed(257, 2, 7),
      "t.json has a post_processor Sequence that repeats the text 128 times; the limit is 64");
}

TEST(TokenizerJson, ComponentsThatMakeTooMuchOfATextAreStopped) {
  const json twice{{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  json root = small_tokenizer();
  root["normalizer"] = {{"type", "Sequence"}, {"normalizers", json(20, twice)}};
  const Tokenizer normalizing = Tokenizer::from_json(root.dump());
  EXPECT_EQ(normalizing.encode("a").size(), size_t{1} << 20);
  const auto why = [](auto&& call) { return message_of<ValueError>(call); };
  const std::string message = "normalizing makes 2097152 bytes of a text; the limit is 1048576";
  EXPECT_EQ(why([&] { normalizing.encode("aa"); }), message);
  EXPECT_EQ(why([&] { normalizing.encode_fully("aa"); }), message);
  root = small_tokenizer();
  root["decoder"] = {{"type", "Sequence"}, {"decoders", json(17, twice)}};
  const Tokenizer decoding = Tokenizer::from_json(root.dump());
  EXPECT_EQ(why([&] { decoding.decode(Ids{'a'}); }),
            "decoding makes 131072 bytes of the tokens; the limit is 65536");
}

TEST(TokenizerJson, EveryCutOffFileIsRefused) {
  const std::string whole = small_tokenizer().dump();
  for (size_t size = 0; size < whole.size(); size += 1 + size / 50) {
    EXPECT_THROW(Tokenizer::from_json(whole.substr(0, size), "t.json"), FileError) << size;
  }
  std::string broken = whole;
  broken[whole.find("ab")] = '\xff';
  EXPECT_THROW(Tokenizer::from_json(broken, "t.json"), FileError);
}

}  // namespace
}  // namespace msltx::text
