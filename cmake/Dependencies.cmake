# Libraries the engine stands on. Found on the system first; fetched only with -DMSLTX_FETCH=ON.
find_package(Threads REQUIRED)

find_package(nlohmann_json 3.10 QUIET)
if(NOT nlohmann_json_FOUND)
  if(NOT MSLTX_FETCH)
    message(FATAL_ERROR "nlohmann-json was not found: run script/setup, or configure with -DMSLTX_FETCH=ON")
  endif()
  include(FetchContent)
  FetchContent_Declare(nlohmann_json
    URL https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz)
  FetchContent_MakeAvailable(nlohmann_json)
endif()

# Text: utf8proc for normalization forms, PCRE2 for split patterns that have no splitter of their own.
foreach(library Utf8proc PCRE2)
  find_package(${library} QUIET)
  if(NOT ${library}_FOUND)
    message(FATAL_ERROR "${library} was not found through pkg-config: run script/setup")
  endif()
endforeach()

# Text may be compressed.
find_package(ZLIB REQUIRED)
find_package(zstd REQUIRED)

# The cpu backend needs both oneDNN (matrix products) and Highway (SIMD). Without them the build has
# the reference backend only.
set(MSLTX_HAS_CPU_BACKEND OFF)
if(NOT MSLTX_CPU_BACKEND STREQUAL "OFF")
  find_package(dnnl QUIET)
  if(dnnl_FOUND AND dnnl_VERSION VERSION_LESS 2.6)
    message(STATUS "msltx: oneDNN ${dnnl_VERSION} is older than 2.6 and not used")
    set(dnnl_FOUND OFF)
  endif()
  find_package(hwy QUIET)
  find_package(OpenMP QUIET COMPONENTS CXX)
  if(dnnl_FOUND AND hwy_FOUND AND OpenMP_CXX_FOUND)
    set(MSLTX_HAS_CPU_BACKEND ON)
  elseif(MSLTX_CPU_BACKEND STREQUAL "ON")
    message(FATAL_ERROR "MSLTX_CPU_BACKEND=ON needs oneDNN 2.6 or newer, Highway and OpenMP: run script/setup, or script/libraries where the distribution has older ones")
  endif()
endif()
message(STATUS "msltx: cpu backend (oneDNN ${dnnl_VERSION}, Highway ${hwy_VERSION}): ${MSLTX_HAS_CPU_BACKEND}")
