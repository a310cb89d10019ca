// Which instruction-set levels a processor can run: asked by the build, for this machine's best, and at import.
#pragma once

#include <array>
#include <string_view>

namespace aefast {

#if defined(__x86_64__)

/// Every level an engine can be built for, lowest first; the names are those of CMakeLists.txt.
inline constexpr std::array<std::string_view, 4> kLevels{"v2", "v3", "v4", "v4_bf16"};

/// Whether processor and operating system run every instruction the level's compiler flags allow.
inline bool cpu_supports(std::string_view level) {
  __builtin_cpu_init();
  if (level == "v2") return __builtin_cpu_supports("x86-64-v2");
  if (level == "v3") return __builtin_cpu_supports("x86-64-v3");
  if (level == "v4") return __builtin_cpu_supports("x86-64-v4");
  if (level == "v4_bf16")
    return __builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512bf16") &&
           __builtin_cpu_supports("avx512vnni");
  return false;
}

#else

inline constexpr std::array<std::string_view, 1> kLevels{"baseline"};

inline bool cpu_supports(std::string_view level) { return level == "baseline"; }

#endif

}  // namespace aefast
