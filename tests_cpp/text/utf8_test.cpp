#include "msltx/text/utf8.h"

#include <gtest/gtest.h>

#include "msltx/base/executor.h"

namespace msltx::text {
namespace {

TEST(Utf8, EveryCodePointComesBack) {
  std::string all;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string one;
    append_utf8(one, c);
    const char* p = one.data();
    ASSERT_EQ(decode_utf8(p), c);
    ASSERT_EQ(p, one.data() + one.size());
    ASSERT_EQ(incomplete_utf8_tail(one), 0u);
    for (size_t cut = 1; cut < one.size(); ++cut) {
      ASSERT_EQ(incomplete_utf8_tail(one.substr(0, cut)), cut) << static_cast<uint32_t>(c);
    }
    all += one;
  }
  EXPECT_EQ(find_invalid_utf8(all), kValid);
  EXPECT_EQ(replace_invalid_utf8(all), all);
}

TEST(Utf8, FindsTheFirstBrokenByteWhereverItStands) {
  for (size_t before = 0; before < 40; ++before) {
    const std::string good(before, 'a');
    EXPECT_EQ(find_invalid_utf8(good + "\xff" + "é"), before);
    EXPECT_EQ(find_invalid_utf8(good + "é\x80" + good), before + 2);
    EXPECT_EQ(find_invalid_utf8(good + "\xe4\xb8"), before);  // cut off
  }
}

TEST(Utf8, AllThreadsFindTheSameByte) {
  Executor executor(3);
  std::string text;
  while (text.size() < (size_t{3} << 20)) text += "a\xf0\x9f\x98\x80\u00e9 ";
  EXPECT_EQ(find_invalid_utf8(text, executor), kValid);
  EXPECT_EQ(find_invalid_utf8("", executor), kValid);
  for (const size_t at : {size_t{0}, (size_t{1} << 20) - 1, size_t{1} << 20, (size_t{2} << 20) + 1,
                          text.size() - 1}) {
    for (const char byte : {'\xff', '\x80', '\xc3'}) {
      std::string broken = text;
      broken[at] = byte;
      EXPECT_EQ(find_invalid_utf8(broken, executor), find_invalid_utf8(broken)) << at;
      broken[text.size() / 2] = '\xff';
      EXPECT_EQ(find_invalid_utf8(broken, executor), find_invalid_utf8(broken)) << at;
    }
  }
  EXPECT_EQ(find_invalid_utf8(std::string(size_t{3} << 20, '\x80'), executor), 0u);
}

// The examples of the Unicode standard, tables 3-8 to 3-11, and the ends of every range.
TEST(Utf8, ReplacesMaximalSubparts) {
  const std::string r = "\xef\xbf\xbd";
  const auto repeat = [&](int n) {
    std::string s;
    while (n-- > 0) s += r;
    return s;
  };
  EXPECT_EQ(replace_invalid_utf8("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41"), repeat(8) + "A");
  EXPECT_EQ(replace_invalid_utf8("\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41"), repeat(8) + "A");
  EXPECT_EQ(replace_invalid_utf8("\xf4\x91\x92\x93\xff\x41\x80\xbf\x42"),
            repeat(5) + "A" + repeat(2) + "B");
  EXPECT_EQ(replace_invalid_utf8("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41"), repeat(4) + "A");
  for (const char* bad : {"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
                          "\xf5\x80\x80\x80", "\xed\xa0\x80", "\x80", "\xfe"}) {
    EXPECT_EQ(find_invalid_utf8(bad), 0u) << bad;
  }
  for (const char* good : {"\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(find_invalid_utf8(good), kValid) << good;
  }
}

TEST(Utf8, NamesAreChecked) {
  EXPECT_EQ(invalid_utf8_from_name("refuse"), InvalidUtf8::refuse);
  EXPECT_EQ(invalid_utf8_from_name("replace"), InvalidUtf8::replace);
  EXPECT_EQ(invalid_utf8_from_name("skip"), InvalidUtf8::skip);
  EXPECT_THROW(invalid_utf8_from_name("keep"), ValueError);
}

}  // namespace
}  // namespace msltx::text
