#include "msltx/text/aligned_text.h"

#include <gtest/gtest.h>

#include "msltx/base/error.h"
#include "msltx/text/encoding.h"

namespace msltx::text {
namespace {

// Refused before memory is asked for, 70,000 times 70,000 bytes.
TEST(AlignedText, GrowsToNoMoreThanManyTimesItsLength) {
  const std::string many(70'000, 'a');
  std::vector<TextSpan> matches;
  for (uint32_t i = 0; i < many.size(); ++i) matches.push_back({i, i + 1});
  for (const bool tracked : {false, true}) {
    AlignedText text(many, tracked);
    try {
      text.replace(matches, many);
      FAIL();
    } catch (const ValueError& e) {
      EXPECT_STREQ(e.what(), "normalizing makes 4900000000 bytes of a text; the limit is 17920000");
    }
    EXPECT_EQ(text.text(), many);
    text.replace(matches, "bc");
    EXPECT_EQ(text.text().size(), 2 * many.size());
  }
}

Encoding windows(int64_t tokens) {
  Encoding encoding;
  for (int64_t i = 0; i < tokens; ++i) encoding.push(7, "a", {}, 0, 0, false);
  encoding.truncate(1, 0, Side::right);
  return encoding;
}

TEST(Encoding, WindowsOfBothAreCombinedUpToALimit) {
  Encoding few = windows(3);
  few.append(windows(3));
  EXPECT_EQ(few.size(), 2u);
  EXPECT_EQ(few.overflowing.size(), 8u);
  Encoding many = windows(10'000);
  EXPECT_THROW(many.append(windows(10'000)), ValueError);
  many.append(windows(1));  // nothing to combine
  EXPECT_EQ(many.overflowing.size(), 9'999u);
}

}  // namespace
}  // namespace msltx::text
