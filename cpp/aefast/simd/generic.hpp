/// The level of any other processor: 16 registers of 16 bytes, and nothing that Eigen does not know.
#pragma once

#include "packed_words.hpp"
#include "portable.hpp"

namespace aefast {

/// There is no portable way to keep the compiler from merging or moving the computation of `x`.
template <class Packet>
void keep_computed(Packet&) {}

struct Generic {
  static constexpr int kRegisters = 16;
  static constexpr int kTileRows[] = {12, 6, 4};  // of a product's register tile, by vectors of its panel
  static constexpr int kDotRows = 4;              // of a kernel gradient's register tile
  static constexpr int kLowPrecisionVectors = 2;  // of rows in a low-precision register tile
  static constexpr bool kHasFma = false;
  static constexpr bool kHasLowPrecision = false;

  using Bfloat16 = PortableBfloat16;
  using Bytes = PortableBytes;
  using FlushDenormals = KeepDenormals;
};

}  // namespace aefast
