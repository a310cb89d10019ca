/// The level of 64-bit Arm: 32 registers of 16 bytes.
#pragma once

#include "packed_words.hpp"
#include "portable.hpp"

namespace aefast {

/// Prevents the compiler from merging or moving the computation of `x`.
template <class Packet>
void keep_computed(Packet& x) {
  asm volatile("" : "+w"(x));
}

struct Neon {
  static constexpr int kRegisters = 32;
  static constexpr int kTileRows[] = {12, 12, 8, 6};  // of a product's register tile, by vectors of its panel
  static constexpr int kDotRows = 8;                  // of a kernel gradient's register tile
  static constexpr int kLowPrecisionVectors = 4;      // of rows in a low-precision register tile
  static constexpr bool kHasFma = true;
  static constexpr bool kHasLowPrecision = false;

  using Bfloat16 = PortableBfloat16;
  using Bytes = PortableBytes;
  using FlushDenormals = KeepDenormals;
};

}  // namespace aefast
