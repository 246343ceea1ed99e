#include "msltx/text/unicode.h"

#include <gtest/gtest.h>

#include <array>

#include "msltx/text/utf8.h"

namespace msltx::text {
namespace {

TEST(Unicode, ClassesHaveTheSizesOfUnicode16) {
  std::array<int, 4> count{};
  for (char32_t c = 0; c < 0x110000; ++c) ++count[static_cast<size_t>(class_of(c))];
  EXPECT_EQ(count[static_cast<size_t>(CharClass::letter)], 141028);
  EXPECT_EQ(count[static_cast<size_t>(CharClass::number)], 1911);
  EXPECT_EQ(count[static_cast<size_t>(CharClass::space)], 25);
}

TEST(Unicode, Classes) {
  for (const char32_t c :
       {U'a', U'Z', U'é', U'中', U'я', char32_t{0x10D50} /* Garay, new in 16 */}) {
    EXPECT_EQ(class_of(c), CharClass::letter) << static_cast<uint32_t>(c);
  }
  for (const char32_t c : {U'0', U'²', U'Ⅷ', U'٣', U'①', U'𝟙'}) {
    EXPECT_EQ(class_of(c), CharClass::number) << static_cast<uint32_t>(c);
  }
  for (const char32_t c : {0x09, 0x0A, 0x0D, 0x20, 0x85, 0xA0, 0x1680, 0x2028, 0x3000}) {
    EXPECT_EQ(class_of(c), CharClass::space) << static_cast<uint32_t>(c);
  }
  for (const char32_t c :
       {0x00, 0x1C, 0x5F, 0x301, 0x180E, 0x200B, 0xFEFF, 0xD800, 0x10FFFF, 0x110000}) {
    EXPECT_EQ(class_of(c), CharClass::other) << static_cast<uint32_t>(c);
  }
}

TEST(Unicode, Lowercase) {
  const auto lower = [](std::string_view text) {
    std::string out;
    append_lowercase(text, out);
    return out;
  };
  EXPECT_EQ(lower("Hello, WORLD [1]"), "hello, world [1]");
  EXPECT_EQ(lower("ÀÉÎ ΑΣ Ж ǅ ẞ Ⅷ Ⓐ 𐐀"), "àéî ασ ж ǆ ß ⅷ ⓐ 𐐨");  // no final sigma
  EXPECT_EQ(lower("İ"), "i\u0307");
  EXPECT_EQ(simple_lowercase(0xA7CB), char32_t{0x264});  // both new in Unicode 16
  EXPECT_EQ(simple_lowercase(0x1C89), char32_t{0x1C8A});
  int changed = 0;
  for (char32_t c = 0; c < 0x110000; ++c) {
    const char32_t once = simple_lowercase(c);
    changed += once != c;
    EXPECT_EQ(simple_lowercase(once), once) << static_cast<uint32_t>(c);
  }
  EXPECT_EQ(changed, 1459);
}

}  // namespace
}  // namespace msltx::text
