# What the scripts share; sourced, not run.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
venv=$root/.venv

say() { printf '== %s\n' "$*" >&2; }
fail() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }
usage_error() { printf '%s: %s\n%s\n' "$(basename "$0")" "$1" "$usage" >&2; exit 2; }

# alone NAME: waits until no other script/NAME is at work in this checkout, and keeps others out until
# this one ends.
alone() {
  local lock=$root/build/$1.lock waits="another script/$1 is at work in this checkout: waiting for it" status=0 holder
  mkdir -p "$root/build"
  if command -v flock >/dev/null; then
    exec 9>"$lock"
    flock -n 9 || status=$?
    # Any other status comes of a file system without locks.
    if [ $status = 1 ]; then
      say "$waits"
      flock 9
    fi
    return 0
  fi
  until mkdir "$lock.d" 2>/dev/null; do
    holder=$(cat "$lock.d/process" 2>/dev/null) || holder=
    if [ -n "$holder" ] && ! kill -0 "$holder" 2>/dev/null; then
      rm -rf "$lock.d" # its process was killed
      continue
    fi
    [ -z "$waits" ] || say "$waits"
    waits=
    sleep 1
  done
  echo $$ >"$lock.d/process"
  # shellcheck disable=SC2064
  trap "rm -rf '$lock.d'" EXIT
}

cores() {
  if command -v nproc >/dev/null; then nproc; else sysctl -n hw.ncpu; fi
}

# ON or AUTO wants oneDNN and Highway, OFF leaves them out: the build then has the reference backend only.
cpu_backend=${MSLTX_CPU_BACKEND:-AUTO}
case $cpu_backend in
  AUTO | ON | OFF) ;;
  *) fail "MSLTX_CPU_BACKEND is '$cpu_backend'; it takes AUTO, ON or OFF" ;;
esac

# Tools of the virtual environment first, whatever the caller has activated.
export PATH=$venv/bin:$PATH
unset PYTHONHOME PYTHONPATH
export CMAKE_GENERATOR=Ninja
# One name for the compiler: package and tests compile the same engine, and ccache then does it once.
export CXX=${CXX:-c++}
use_ccache() {
  if [ -z "${CMAKE_CXX_COMPILER_LAUNCHER:-}" ] && command -v ccache >/dev/null; then
    export CMAKE_CXX_COMPILER_LAUNCHER=ccache
  fi
}
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(cores)}

# Libraries of our own making (script/libraries) come before the system's.
if [ -e "$root/.libraries/.complete" ]; then
  export CMAKE_PREFIX_PATH=$root/.libraries${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}
fi

# build PRESET: configures and builds it; CMake's long output is shown only when it fails.
build() {
  local preset=$1 log
  mkdir -p "$root/build"
  use_ccache
  log=$root/build/$preset.log
  say "building $preset (log: build/$preset.log)"
  if ! { cmake --preset "$preset" -DMSLTX_CPU_BACKEND="$cpu_backend" \
    -DPython_EXECUTABLE="$venv/bin/python" -Dpybind11_DIR="$(pybind11-config --cmakedir)" &&
    cmake --build --preset "$preset"; } >"$log" 2>&1; then
    grep -E 'error:|Error|warning:|FAILED' "$log" | head -40 >&2 || true
    tail -30 "$log" >&2
    fail "the build of preset $preset failed; the whole output is in build/$preset.log"
  fi
}
