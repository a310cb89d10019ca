// The instruction-set levels that this processor supports. The build and the package ask for the best of them.
#pragma once

#include <string_view>
#include <vector>

#if defined(__x86_64__)
#include "cpu_features_x86.hpp"
#elif defined(__aarch64__) || defined(__arm64__)
#include "cpu_features_arm.hpp"
#endif

namespace aefast {

struct Level {
  std::string_view name;
  bool is_supported;  // by processor and operating system
};

#define AEFAST_X86_LEVEL(name, flags, is_supported)
#define AEFAST_ARM_LEVEL(name, flags, is_supported)
#define AEFAST_OTHER_LEVEL(name, flags, is_supported)
#if defined(__x86_64__)
#define AEFAST_HAS(feature) x86_has(X86Feature::feature)
#undef AEFAST_X86_LEVEL
#define AEFAST_X86_LEVEL(name, flags, is_supported) {#name, is_supported},
#elif defined(__aarch64__) || defined(__arm64__)
#define AEFAST_HAS(feature) arm_has(ArmFeature::feature)
#undef AEFAST_ARM_LEVEL
#define AEFAST_ARM_LEVEL(name, flags, is_supported) {#name, is_supported},
#else
#undef AEFAST_OTHER_LEVEL
#define AEFAST_OTHER_LEVEL(name, flags, is_supported) {#name, is_supported},
#endif

/// Every level of this architecture, lowest first.
inline std::vector<Level> levels() {
  return {
#include "../levels.def"
  };
}

#undef AEFAST_HAS
#undef AEFAST_X86_LEVEL
#undef AEFAST_ARM_LEVEL
#undef AEFAST_OTHER_LEVEL

inline bool cpu_supports(std::string_view name) {
  for (const Level& level : levels()) {
    if (level.name == name) return level.is_supported;
  }
  return false;
}

}  // namespace aefast
