/// The level of 64-bit Arm: 32 registers of 16 bytes.
#pragma once

#include <cstdint>

#include "packed_words.hpp"
#include "portable.hpp"

namespace aefast {

/// Prevents the compiler from merging or moving the computation of `x`.
template <class Packet>
void keep_computed(Packet& x) {
  asm volatile("" : "+w"(x));
}

/// Denormal numbers count as zero while an object of this class lives, as on x86.
class ArmFlushDenormals {
 public:
  ArmFlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before_) : : "memory");
    if (changes()) write(before_ | kFlush);
  }
  ~ArmFlushDenormals() {
    if (changes()) write(before_);
  }
  ArmFlushDenormals(const ArmFlushDenormals&) = delete;
  ArmFlushDenormals& operator=(const ArmFlushDenormals&) = delete;

 private:
  static constexpr std::uint64_t kFlush = std::uint64_t{1} << 24;

  bool changes() const { return (before_ & kFlush) == 0; }
  static void write(std::uint64_t control) { asm volatile("msr fpcr, %0" : : "r"(control) : "memory"); }

  std::uint64_t before_;
};

struct Neon {
  static constexpr int kRegisters = 32;
  static constexpr int kTileRows[] = {12, 12, 8, 6};  // of a product's register tile, by vectors of its panel
  static constexpr int kDotRows = 8;                  // of a kernel gradient's register tile
  static constexpr int kLowPrecisionVectors = 4;      // of rows in a low-precision register tile
  static constexpr bool kHasFma = true;
  static constexpr bool kHasLowPrecision = false;

  using Bfloat16 = PortableBfloat16;
  using Bytes = PortableBytes;
  using FlushDenormals = ArmFlushDenormals;
};

}  // namespace aefast
