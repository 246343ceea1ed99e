#include "msltx/base/memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>

#ifdef __APPLE__
#include <mach/mach.h>
#endif

namespace msltx {
namespace {

constexpr int64_t kUnknown = std::numeric_limits<int64_t>::max();

#ifdef __linux__

int64_t read_number(const std::filesystem::path& path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : kUnknown;  // "max" is no number
}

// How the two versions of cgroups name the same things.
struct CgroupNames {
  std::string_view controller;  // of /proc/self/cgroup's line "number:controller:group"
  const char *root, *limit, *used, *cache;
};
constexpr CgroupNames kVersions[] = {
    {"", "/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"},
    {"memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
     "total_inactive_file"},
};

int64_t read_statistic(const std::filesystem::path& path, std::string_view name) {
  std::ifstream file(path);
  int64_t value = 0;
  for (std::string key; file >> key >> value;) {
    if (key == name) return value;
  }
  return 0;
}

int64_t memory_left(const CgroupNames& names, const std::filesystem::path& group) {
  const std::filesystem::path folder = names.root + group.string();
  const int64_t limit = read_number(folder / names.limit);
  const int64_t used = read_number(folder / names.used);
  if (limit == kUnknown || used == kUnknown) return kUnknown;
  // Pages of files that nobody has asked for again go first when the group needs memory.
  const int64_t cache = read_statistic(folder / "memory.stat", names.cache);
  return std::max<int64_t>(0, limit - std::max<int64_t>(0, used - cache));
}

int64_t cgroup_memory_left() {
  std::ifstream self("/proc/self/cgroup");
  int64_t left = kUnknown;
  std::string number, controller, path;
  while (std::getline(self, number, ':') && std::getline(self, controller, ':') &&
         std::getline(self, path)) {
    for (const CgroupNames& names : kVersions) {
      if (controller != names.controller) continue;
      for (std::filesystem::path group = path;; group = group.parent_path()) {
        left = std::min(left, memory_left(names, group));
        if (group == group.parent_path()) break;
      }
    }
  }
  return left;
}

int64_t system_memory_available() {
  std::ifstream file("/proc/meminfo");
  for (std::string key; file >> key;) {
    int64_t kilobytes = 0;
    if (key == "MemAvailable:" && file >> kilobytes) return kilobytes * 1024;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return kUnknown;
}

#endif

}  // namespace

int64_t available_memory() {
#if defined(__linux__)
  return std::min(system_memory_available(), cgroup_memory_left());
#elif defined(__APPLE__)
  vm_statistics64_data_t stats{};
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  if (host_statistics64(mach_host_self(), HOST_VM_INFO64, reinterpret_cast<host_info64_t>(&stats),
                        &count) != KERN_SUCCESS) {
    return kUnknown;
  }
  return static_cast<int64_t>(stats.free_count + stats.inactive_count + stats.purgeable_count) *
         static_cast<int64_t>(vm_page_size);
#else
  return kUnknown;
#endif
}

int64_t available_memory_after_freeing(int64_t held) {
  const int64_t freed = std::min(held, resident_memory());
  return std::min(available_memory(), kUnknown - freed) + freed;
}

int64_t resident_memory() {
#if defined(__linux__)
  std::ifstream file("/proc/self/statm");
  int64_t pages = 0, resident = 0;
  return file >> pages >> resident ? resident * sysconf(_SC_PAGESIZE) : kUnknown;
#elif defined(__APPLE__)
  mach_task_basic_info info{};
  mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
  if (task_info(mach_task_self(), MACH_TASK_BASIC_INFO, reinterpret_cast<task_info_t>(&info),
                &count) != KERN_SUCCESS) {
    return kUnknown;
  }
  return static_cast<int64_t>(info.resident_size);
#else
  return kUnknown;
#endif
}

int64_t peak_resident_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
  return usage.ru_maxrss;
#else
  return usage.ru_maxrss * 1024;
#endif
}

}  // namespace msltx
