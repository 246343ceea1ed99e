#include "msltx/base/error.h"

#include <cerrno>
#include <cstring>

namespace msltx {

std::string system_error_message(const std::string& action, const std::string& path) {
  const int code = errno;
  if (code == ENOSPC) return concat("cannot ", action, " ", path, ": no space left on the disk");
  return concat("cannot ", action, " ", path, ": ", std::strerror(code));
}

}  // namespace msltx
