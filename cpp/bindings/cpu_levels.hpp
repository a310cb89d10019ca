// The instruction-set levels that this processor supports. The build and the package ask for the best of them.
#pragma once

#include <string_view>
#include <vector>

namespace aefast {

struct Level {
  std::string_view name;
  bool is_supported;  // by processor and operating system
};

#if defined(__x86_64__)
#define AEFAST_HAS(feature) (__builtin_cpu_supports(feature) != 0)
#define AEFAST_X86_LEVEL(name, flags, is_supported) {#name, is_supported},
#define AEFAST_OTHER_LEVEL(name, flags, is_supported)
#else
#define AEFAST_X86_LEVEL(name, flags, is_supported)
#define AEFAST_OTHER_LEVEL(name, flags, is_supported) {#name, is_supported},
#endif

/// Every level of this architecture, lowest first.
inline std::vector<Level> levels() {
#if defined(__x86_64__)
  __builtin_cpu_init();
#endif
  return {
#include "../levels.def"
  };
}

#undef AEFAST_X86_LEVEL
#undef AEFAST_OTHER_LEVEL

inline bool cpu_supports(std::string_view name) {
  for (const Level& level : levels()) {
    if (level.name == name) return level.is_supported;
  }
  return false;
}

}  // namespace aefast
