/// Transposes and sums within the quads of wide registers. AVX2 and AVX-512 share these; each of them defines the
/// interleaves.
#pragma once

#include "vec.hpp"

namespace aefast::detail {

template <class T>
Vec<T> interleave_low(const Vec<T>& a, const Vec<T>& b);
template <class T>
Vec<T> interleave_high(const Vec<T>& a, const Vec<T>& b);
inline Vec<float> interleave_low_pairs(const Vec<float>& a, const Vec<float>& b);
inline Vec<float> interleave_high_pairs(const Vec<float>& a, const Vec<float>& b);

/// Transposes each quad of kQuad registers.
template <class T>
void transpose_quads(Vec<T>* square) {
  if constexpr (sizeof(T) == 4) {
    const Vec<T> low_01 = interleave_low(square[0], square[1]), high_01 = interleave_high(square[0], square[1]);
    const Vec<T> low_23 = interleave_low(square[2], square[3]), high_23 = interleave_high(square[2], square[3]);
    square[0] = interleave_low_pairs(low_01, low_23);
    square[1] = interleave_high_pairs(low_01, low_23);
    square[2] = interleave_low_pairs(high_01, high_23);
    square[3] = interleave_high_pairs(high_01, high_23);
  } else {
    const Vec<T> low = interleave_low(square[0], square[1]);
    square[1] = interleave_high(square[0], square[1]);
    square[0] = low;
  }
}

/// The sums of the quads of kQuad registers: element j of a quad is the sum of that quad of register j.
template <class T>
[[gnu::always_inline]] inline Vec<T> sum_within_quads(const Vec<T>* each) {
  const auto fold = [](const Vec<T>& a, const Vec<T>& b) { return interleave_low(a, b) + interleave_high(a, b); };
  if constexpr (sizeof(T) == 4) {
    const Vec<T> x = fold(each[0], each[1]), y = fold(each[2], each[3]);
    return interleave_low_pairs(x, y) + interleave_high_pairs(x, y);
  } else {
    return fold(each[0], each[1]);
  }
}

}  // namespace aefast::detail
