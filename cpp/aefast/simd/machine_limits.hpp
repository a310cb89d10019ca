/// What a processor can do at most: fused multiply-adds held in registers, and reading memory once. All else is judged
/// beside these.
#pragma once

#include "simd.hpp"

namespace aefast {

/// `n` rounds of multiply-adds, as many in flight as hide their latency; returns how many floating-point operations
/// that was.
double multiply_adds(Index n);

/// Reads `n` floats once, a multiple of 128, and returns their sum.
float read_memory(const float* from, Index n);

}  // namespace aefast
