#include "msltx/text/normal_form.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "msltx/base/error.h"
#include "msltx/text/general_category.h"

namespace msltx::text {
namespace {

TEST(NormalForm, Names) {
  for (const char* name : {"none", "nfc", "nfd", "nfkc", "nfkd"}) {
    EXPECT_EQ(name_of(normal_form_from_name(name)), name);
  }
  EXPECT_THROW(normal_form_from_name("NFC"), ValueError);
}

TEST(NormalForm, AsciiBesideMarks) {
  EXPECT_EQ(normalize("cafe\u0301s", NormalForm::nfc), "cafés");
  EXPECT_EQ(normalize("e\u0301", NormalForm::nfc), "é");
  EXPECT_EQ(normalize("\u0301e", NormalForm::nfc), "\u0301e");
  EXPECT_EQ(normalize("", NormalForm::nfkd), "");
  EXPECT_EQ(normalize("plain", NormalForm::nfkd), "plain");
  EXPECT_EQ(normalize(std::string_view("a\0é", 4), NormalForm::nfd),
            std::string_view("a\0e\u0301", 5));
  // One character that becomes 18, many times: the first guess of the room is too small.
  std::string many, expected;
  for (int i = 0; i < 1000; ++i) {
    many += "\ufdfa";
    expected += normalize("\ufdfa", NormalForm::nfkd);
  }
  EXPECT_EQ(normalize("\ufdfa", NormalForm::nfkd).size(), 33u);
  EXPECT_EQ(normalize(many, NormalForm::nfkd), expected);
}

TEST(GeneralCategory, OfSomeCharacters) {
  const std::vector<std::pair<char32_t, const char*>> expected{
      {'A', "Lu"},     {'a', "Ll"},    {'5', "Nd"},    {'_', "Pc"},      {'-', "Pd"},
      {'(', "Ps"},     {'!', "Po"},    {'+', "Sm"},    {'$', "Sc"},      {' ', "Zs"},
      {'\n', "Cc"},    {0x301, "Mn"},  {0x903, "Mc"},  {0x200d, "Cf"},   {0xd800, "Cs"},
      {0xe000, "Co"},  {0x378, "Cn"},  {0x4e2d, "Lo"}, {0x1f600, "So"},  {0x2028, "Zl"},
      {0x1c5, "Lt"},   {0x2b0, "Lm"},  {0x2160, "Nl"}, {0xbd, "No"},     {0x20dd, "Me"},
      {0x201c, "Pi"},  {0x201d, "Pf"}, {0x5e, "Sk"},   {0x10ffff, "Cn"}, {0x110000, "Cn"},
      {0x10d4e, "Lm"},  // new in Unicode 16.0
  };
  for (const auto& [c, name] : expected) {
    EXPECT_EQ(name_of(category_of(c)), name) << static_cast<uint32_t>(c);
  }
  EXPECT_TRUE(is_punctuation(category_of('!')));
  EXPECT_FALSE(is_punctuation(category_of('+')));
  EXPECT_TRUE(is_mark(category_of(0x301)));
}

}  // namespace
}  // namespace msltx::text
