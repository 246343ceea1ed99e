// How many threads this process may usefully run: affinity, cgroup quota, physical cores.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include "msltx/base/executor.h"

#ifdef __linux__
#include <sched.h>
#endif
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

namespace msltx {
namespace {

#ifdef __linux__

cpu_set_t affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  return set;
}

// Distinct cores among the processors of the affinity mask.
int physical_cores(const cpu_set_t& set) {
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                       "/topology/thread_siblings_list");
    std::string siblings;
    if (!(file >> siblings)) siblings = std::to_string(cpu);
    cores.insert(siblings);
  }
  return static_cast<int>(cores.size());
}

// The least quota on the way from our cgroup to the root, in processors; 0 when there is none.
int cgroup_quota() {
  std::ifstream self("/proc/self/cgroup");
  double least = 0;
  for (std::string line; std::getline(self, line);) {
    if (!line.starts_with("0::")) continue;
    for (std::filesystem::path group = line.substr(3);; group = group.parent_path()) {
      std::ifstream file("/sys/fs/cgroup" + group.string() + "/cpu.max");
      std::string quota;
      double period = 0;
      if (file >> quota >> period && quota != "max" && period > 0) {
        const double share = std::stod(quota) / period;
        least = least == 0 ? share : std::min(least, share);
      }
      if (group == group.parent_path()) break;
    }
  }
  return static_cast<int>(std::ceil(least));
}

#endif

}  // namespace

int default_thread_count() {
#if defined(__linux__)
  const int cores = physical_cores(affinity());
  const int quota = cgroup_quota();
  return std::max(1, quota > 0 ? std::min(cores, quota) : cores);
#elif defined(__APPLE__)
  int cores = 0;
  size_t size = sizeof cores;
  if (sysctlbyname("hw.perflevel0.physicalcpu", &cores, &size, nullptr, 0) != 0) {
    sysctlbyname("hw.physicalcpu", &cores, &size, nullptr, 0);
  }
  return std::max(1, cores);
#else
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#endif
}

}  // namespace msltx
