// Kills this process, or fails a call, at a chosen step of its way through the file system. The
// test program's own definitions of fwrite, fsync, rename, renameat2, symlink and unlinkat stand
// before the C library's; armed, each call counts, and the chosen one ends the process before it
// acts (a write: halfway) or fails as on a full disk. Nothing here loses power, so fsync never
// reaches the disk.
#pragma once

#include <functional>
#include <string>

namespace msltx::exchange {

struct CrashPlan {
  int at = -1;                   // which call, from 0 on; -1: none
  bool fails = false;            // the call fails; otherwise it kills
  bool names_exchange = true;    // whether the file system can exchange two names in one call
  long largest_file = -1;        // bytes; -1: no limit
  bool full_disk_kills = false;  // a write beyond largest_file ends the process; otherwise it fails
};

enum class Ending { finished, killed, refused };

struct Outcome {
  Ending ending;
  std::string message;  // of the Error that `act` threw, where it was refused
  bool reached;         // whether call number `at` came
};

// Runs `act` in a child process under the plan.
Outcome run_in_child(const CrashPlan& plan, const std::function<void()>& act);

}  // namespace msltx::exchange
