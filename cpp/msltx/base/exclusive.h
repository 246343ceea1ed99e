// Exclusive: an object that takes one caller at a time, and refuses a second one.
#pragma once

#include <atomic>
#include <string>

#include "msltx/base/error.h"

namespace msltx {

class Exclusive {
 public:
  // Throws BusyError where a call is under way.
  void check_free(const char* what) const {
    if (busy_.load(std::memory_order_acquire)) refuse(what);
  }

  // Held for the length of a call. Throws BusyError where another call is under way.
  class Guard {
   public:
    Guard(Exclusive& owner, const char* what) : owner_(owner) {
      if (owner_.busy_.exchange(true, std::memory_order_acquire)) refuse(what);
    }
    ~Guard() { owner_.busy_.store(false, std::memory_order_release); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    Exclusive& owner_;
  };

 private:
  [[noreturn]] static void refuse(const char* what) {
    throw BusyError(concat(what, " is in use by another caller; it takes one at a time"));
  }

  std::atomic<bool> busy_{false};
};

}  // namespace msltx
