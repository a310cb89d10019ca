/// Operations on registers of 16 bytes, for every processor that Eigen knows. The levels SSE, NEON and generic share
/// them.
#pragma once

#include <algorithm>

#include "full_masks.hpp"

namespace aefast {

static_assert(kLanes<float> == kQuad<float> && kLanes<double> == kQuad<double>, "registers have 16 bytes");

/// The first `n` elements, 1 <= n <= kLanes, and zeros; nothing past them is read.
template <class T>
Vec<T> load_first(const T* from, Index n) {
  alignas(kAlignment) T lanes[kLanes<T>] = {};
  std::copy_n(from, n, lanes);
  return Vec<T>::load(lanes);
}

/// Two registers of double as one of float.
inline Vec<float> narrow(const Vec<double>& low, const Vec<double>& high) {
  alignas(kAlignment) double wide[kLanes<float>];
  alignas(kAlignment) float lanes[kLanes<float>];
  low.store(wide);
  high.store(wide + kLanes<double>);
  std::transform(wide, wide + kLanes<float>, lanes, [](double x) { return static_cast<float>(x); });
  return Vec<float>::load(lanes);
}

namespace detail {

/// The quad at element `at` of row `first`.
template <class T, class Rows>
[[gnu::always_inline]] inline Vec<T> load_quads(const Rows& row, Index first, Index at) {
  return Vec<T>::load_unaligned(row(first) + at);
}

/// Transposes kQuad registers.
template <class T>
void transpose_quads(Vec<T>* square) {
  packet::PacketBlock<typename Vec<T>::Packet, static_cast<int>(kQuad<T>)> block;
  for (Index i = 0; i < kQuad<T>; ++i) block.packet[i] = square[i].p;
  packet::ptranspose(block);
  for (Index i = 0; i < kQuad<T>; ++i) square[i].p = block.packet[i];
}

/// Registers of one quad are already transposed.
template <class T>
void exchange_quads(Vec<T>*, Index) {}

/// The sums of kQuad registers, side by side.
template <class T>
[[gnu::always_inline]] inline Vec<T> sum_within_quads(const Vec<T>* each) {
  Vec<T> square[kQuad<T>];
  std::copy_n(each, kQuad<T>, square);
  transpose_quads(square);
  Vec<T> total = square[0];
  for (Index i = 1; i < kQuad<T>; ++i) total = total + square[i];
  return total;
}

/// The sum of the only quad is that quad.
template <class T>
[[gnu::always_inline]] inline Vec<T> sum_quads(const Vec<T>* each) {
  return each[0];
}

}  // namespace detail
}  // namespace aefast
