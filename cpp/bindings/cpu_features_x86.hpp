// What the processor and the operating system of an x86-64 machine support. Compilers have a built-in function for it,
// but that of Zig, with which the wheels are built, always says no.
#pragma once

#include <cpuid.h>

#include <cstdint>

namespace aefast {

enum class X86Feature { v2, v3, v4, avx512_bf16, avx512_vnni };

/// The registers that the instruction `cpuid` fills.
struct CpuLeaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;

  /// Reads a leaf; all bits are zero if the processor does not have it.
  explicit CpuLeaf(unsigned leaf, unsigned subleaf = 0) { __get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx); }
};

/// Returns whether `word` has all of these bits.
template <class... Bit>
bool has_bits(std::uint64_t word, Bit... bit) {
  return ((word >> bit & 1) && ...);
}

/// Returns the parts of the registers that the operating system saves when it changes threads (XCR0).
inline std::uint64_t saved_registers() {
  std::uint32_t low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

/// The levels are those of the ABI for x86-64, the bits those of Intel's manual (volume 2A, CPUID).
inline bool x86_has(X86Feature feature) {
  const CpuLeaf basic(1), extended(7), more(7, 1), further(0x80000001);
  switch (feature) {
    case X86Feature::v2:  // SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT; LAHF
      return has_bits(basic.ecx, 0, 9, 13, 19, 20, 23) && has_bits(further.ecx, 0);
    case X86Feature::v3:  // FMA, MOVBE, OSXSAVE, AVX, F16C; BMI1, AVX2, BMI2; LZCNT; XMM and YMM are saved
      return x86_has(X86Feature::v2) && has_bits(basic.ecx, 12, 22, 27, 28, 29) && has_bits(extended.ebx, 3, 5, 8) &&
             has_bits(further.ecx, 5) && has_bits(saved_registers(), 1, 2);
    case X86Feature::v4:  // AVX512 F, DQ, CD, BW, VL; masks and ZMM are saved
      return x86_has(X86Feature::v3) && has_bits(extended.ebx, 16, 17, 28, 30, 31) &&
             has_bits(saved_registers(), 5, 6, 7);
    case X86Feature::avx512_bf16: return x86_has(X86Feature::v4) && has_bits(more.eax, 5);
    case X86Feature::avx512_vnni: return x86_has(X86Feature::v4) && has_bits(extended.ecx, 11);
  }
  return false;
}

}  // namespace aefast
