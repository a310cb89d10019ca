/// Probes of a processor's limits: fused multiply-adds in registers, and reads of memory. Speeds of the engine are
/// compared with them.
#pragma once

#include "simd.hpp"

namespace aefast {

/// Computes `n` rounds of independent multiply-adds, enough per round to hide their latency; returns the number of
/// floating-point operations.
double multiply_adds(Index n);

/// Reads `n` floats, a multiple of 128, once; returns their sum.
float read_memory(const float* from, Index n);

}  // namespace aefast
