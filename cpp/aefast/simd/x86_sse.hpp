/// The level of SSE: 16 registers of 16 bytes, without fused multiply-adds.
#pragma once

#include <immintrin.h>

#include "portable.hpp"
#include "x86_words.hpp"

namespace aefast {

/// Sums of neighbouring products of 16-bit integers.
inline Words multiply_halves(const Words& a, const Words& b) { return (Words)_mm_madd_epi16((__m128i)a, (__m128i)b); }

struct Sse {
  static constexpr int kRegisters = 16;
  static constexpr int kTileRows[] = {12, 6, 4};  // of a product's register tile, by vectors of its panel
  static constexpr int kDotRows = 4;              // of a kernel gradient's register tile
  static constexpr int kLowPrecisionVectors = 2;  // of rows in a low-precision register tile
  static constexpr bool kHasFma = false;
  static constexpr bool kHasLowPrecision = false;

  using Bfloat16 = PortableBfloat16;
  using Bytes = X86Bytes<&multiply_halves>;
  using FlushDenormals = X86FlushDenormals;
};

}  // namespace aefast
