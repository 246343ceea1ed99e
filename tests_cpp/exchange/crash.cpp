#include "exchange/crash.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "msltx/base/error.h"

namespace {

constexpr int kKilled = 77;
constexpr int kRefused = 78;

bool armed = false;
int calls_left = -1;
bool call_fails = false;
bool names_exchange = true;

bool now() { return armed && calls_left >= 0 && calls_left-- == 0; }

// Whether this call is to fail; it does not return where the process is to end.
bool fails() {
  if (!now()) return false;
  if (!call_fails) _exit(kKilled);
  errno = ENOSPC;
  return true;
}

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

size_t fwrite(const void* data, size_t size, size_t count, FILE* file) {
  static auto* real = next<size_t(const void*, size_t, size_t, FILE*)>("fwrite");
  if (now()) {
    if (call_fails) {
      errno = ENOSPC;
      return 0;
    }
    real(data, 1, size * count / 2, file);
    fflush(file);
    _exit(kKilled);
  }
  return real(data, size, count, file);
}

int fsync(int) { return fails() ? -1 : 0; }

int rename(const char* from, const char* to) noexcept {
  static auto* real = next<int(const char*, const char*)>("rename");
  return fails() ? -1 : real(from, to);
}

#ifdef __linux__
int renameat2(int from_folder, const char* from, int to_folder, const char* to,
              unsigned flags) noexcept {
  static auto* real = next<int(int, const char*, int, const char*, unsigned)>("renameat2");
  if (fails()) return -1;
  if (armed && !names_exchange) {
    errno = EINVAL;
    return -1;
  }
  return real(from_folder, from, to_folder, to, flags);
}
#endif

int symlink(const char* target, const char* link) noexcept {
  static auto* real = next<int(const char*, const char*)>("symlink");
  return fails() ? -1 : real(target, link);
}

int unlinkat(int folder, const char* name, int flags) noexcept {
  static auto* real = next<int(int, const char*, int)>("unlinkat");
  return fails() ? -1 : real(folder, name, flags);
}

}  // extern "C"

namespace msltx::exchange {
namespace {

void limit_files(const CrashPlan& plan) {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  if (!plan.full_disk_kills) signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = static_cast<rlim_t>(plan.largest_file);
  setrlimit(RLIMIT_FSIZE, &limit);
}

[[noreturn]] void act_as_child(const CrashPlan& plan, const std::function<void()>& act,
                               int channel) {
  if (plan.largest_file >= 0) limit_files(plan);
  names_exchange = plan.names_exchange;
  calls_left = plan.at;
  call_fails = plan.fails;
  armed = true;
  std::string text;
  int status = 0;
  try {
    act();
  } catch (const Error& e) {
    text = e.what();
    status = kRefused;
  }
  text += calls_left < 0 ? 'r' : 'n';  // reached or not
  _exit(write(channel, text.data(), text.size()) < 0 ? 1 : status);
}

std::string read_all(int channel) {
  std::string text;
  char block[512];
  for (ssize_t n = 0; (n = read(channel, block, sizeof block)) > 0;) {
    text.append(block, static_cast<size_t>(n));
  }
  return text;
}

}  // namespace

Outcome run_in_child(const CrashPlan& plan, const std::function<void()>& act) {
  int channel[2];
  if (pipe(channel) != 0) throw Error("no pipe");
  const pid_t child = fork();
  if (child == 0) act_as_child(plan, act, channel[1]);
  close(channel[1]);
  std::string text = read_all(channel[0]);
  close(channel[0]);
  int status = 0;
  waitpid(child, &status, 0);
  const bool by_size = WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ;
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (by_size || code == kKilled) return {Ending::killed, "", true};
  if (text.empty() || (code != 0 && code != kRefused)) {
    throw Error(concat("the child ended with status ", status));
  }
  const bool reached = text.back() == 'r';
  text.pop_back();
  return {code == 0 ? Ending::finished : Ending::refused, text, reached};
}

}  // namespace msltx::exchange
