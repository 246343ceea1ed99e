// Errors of the engine. Every message is one sentence naming the thing, its value and the limit.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace msltx {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// An argument, a configuration value or a tensor that is outside what the callee takes.
class ValueError : public Error {
 public:
  using Error::Error;
};

// A file that is missing, unreadable, truncated, foreign, or cannot be written (disk full).
class FileError : public Error {
 public:
  using Error::Error;
};

// The memory plan needs more than the machine or memory_limit allows.
class MemoryLimitError : public Error {
 public:
  using Error::Error;
};

// A second caller entered an object that takes one caller at a time.
class BusyError : public Error {
 public:
  using Error::Error;
};

// The cancel flag was seen; the work under way was dropped.
class Cancelled : public Error {
 public:
  Cancelled() : Error("cancelled") {}
};

// concat("x is ", 3) == "x is 3"
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// "PATH: REASON" for the current errno, with a plain sentence for a full disk.
std::string system_error_message(const std::string& action, const std::string& path);

}  // namespace msltx
