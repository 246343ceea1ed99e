// A folder of a test's own, removed with it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "msltx/base/error.h"
#include "msltx/base/file.h"

namespace msltx::exchange {

class ScratchFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = Path(testing::TempDir()) /
              concat("msltx_exchange_", getpid(), "_",
                     testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static std::vector<std::string> names_in(const Path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  Path folder_;
};

// What `act` throws as an Error says; "" when it throws nothing.
template <class Act>
std::string message_of(Act&& act) {
  try {
    act();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace msltx::exchange
