// What the processor and the operating system of a 64-bit Arm machine support.
#pragma once

#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>

#include <cstddef>
#endif

namespace aefast {

enum class ArmFeature { lse, rdm, bf16, i8mm };

/// Linux says so in the auxiliary vector, macOS in its system information; elsewhere the answer is no.
inline bool arm_has([[maybe_unused]] ArmFeature feature) {
#if defined(__linux__)
  // The bits of Linux's asm/hwcap.h. Older headers lack some of them.
  switch (feature) {
    case ArmFeature::lse: return (getauxval(AT_HWCAP) >> 8 & 1) != 0;
    case ArmFeature::rdm: return (getauxval(AT_HWCAP) >> 12 & 1) != 0;
    case ArmFeature::bf16: return (getauxval(AT_HWCAP2) >> 14 & 1) != 0;
    case ArmFeature::i8mm: return (getauxval(AT_HWCAP2) >> 13 & 1) != 0;
  }
  return false;
#elif defined(__APPLE__)
  const char* const names[] = {"hw.optional.arm.FEAT_LSE", "hw.optional.arm.FEAT_RDM", "hw.optional.arm.FEAT_BF16",
                               "hw.optional.arm.FEAT_I8MM"};
  int value = 0;
  std::size_t size = sizeof(value);
  return sysctlbyname(names[static_cast<int>(feature)], &value, &size, nullptr, 0) == 0 && value != 0;
#else
  return false;
#endif
}

}  // namespace aefast
