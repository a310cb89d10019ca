/// The level of AVX2 and FMA: 16 registers of 32 bytes.
#pragma once

#include <immintrin.h>

#include "full_masks.hpp"
#include "x86_quads.hpp"
#include "x86_words.hpp"

namespace aefast {

/// The first `n` elements, 1 <= n <= kLanes, and zeros; nothing past them is read.
template <class T>
Vec<T> load_first(const T* from, Index n) {
  constexpr int kWords = 8;
  alignas(32) static constexpr int kMask[2 * kWords] = {-1, -1, -1, -1, -1, -1, -1, -1};
  const int words = static_cast<int>(n * static_cast<Index>(sizeof(T)) / 4);
  const __m256i mask = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask + kWords - words));
  if constexpr (sizeof(T) == 4) return _mm256_maskload_ps(from, mask);
  else return _mm256_maskload_pd(from, mask);
}

/// Two registers of double as one of float.
inline Vec<float> narrow(const Vec<double>& low, const Vec<double>& high) {
  return _mm256_set_m128(_mm256_cvtpd_ps(high.p), _mm256_cvtpd_ps(low.p));
}

namespace detail {

/// The quads at element `at` of every kQuad-th row from `first` on, side by side.
template <class T, class Rows>
[[gnu::always_inline]] inline Vec<T> load_quads(const Rows& row, Index first, Index at) {
  const auto quad = [&](Index i) {
    return _mm_loadu_ps(reinterpret_cast<const float*>(row(first + i * kQuad<T>) + at));
  };
  const __m256 all = _mm256_insertf128_ps(_mm256_castps128_ps256(quad(0)), quad(1), 1);
  if constexpr (sizeof(T) == 4) return all;
  else return _mm256_castps_pd(all);
}

// Interleaves of the lower or upper halves of each quad, by element and by pair of elements.
template <class T>
Vec<T> interleave_low(const Vec<T>& a, const Vec<T>& b) {
  if constexpr (sizeof(T) == 4) return _mm256_unpacklo_ps(a.p, b.p);
  else return _mm256_unpacklo_pd(a.p, b.p);
}
template <class T>
Vec<T> interleave_high(const Vec<T>& a, const Vec<T>& b) {
  if constexpr (sizeof(T) == 4) return _mm256_unpackhi_ps(a.p, b.p);
  else return _mm256_unpackhi_pd(a.p, b.p);
}
inline Vec<float> interleave_low_pairs(const Vec<float>& a, const Vec<float>& b) {
  return _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a.p), _mm256_castps_pd(b.p)));
}
inline Vec<float> interleave_high_pairs(const Vec<float>& a, const Vec<float>& b) {
  return _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a.p), _mm256_castps_pd(b.p)));
}

/// One quad of `x`, then one of `y`, those that the bits of kWhich name.
template <int kWhich, class T>
Vec<T> pick_quads(const Vec<T>& x, const Vec<T>& y) {
  if constexpr (sizeof(T) == 4) return _mm256_permute2f128_ps(x.p, y.p, kWhich);
  else return _mm256_permute2f128_pd(x.p, y.p, kWhich);
}
inline constexpr int kFirst = 0x20, kLast = 0x31;

/// Transposes the quads of two registers, `step` apart.
template <class T>
[[gnu::always_inline]] inline void exchange_quads(Vec<T>* square, Index step) {
  const Vec<T> first = pick_quads<kFirst>(square[0], square[step]);
  square[step] = pick_quads<kLast>(square[0], square[step]);
  square[0] = first;
}

/// The sum of the quads of each of two registers, side by side.
template <class T>
[[gnu::always_inline]] inline Vec<T> sum_quads(const Vec<T>* each) {
  return pick_quads<kFirst>(each[0], each[1]) + pick_quads<kLast>(each[0], each[1]);
}

}  // namespace detail

/// Sums of neighbouring products of 16-bit integers.
inline Words multiply_halves(const Words& a, const Words& b) {
  return (Words)_mm256_madd_epi16((__m256i)a, (__m256i)b);
}

struct Avx2 {
  static constexpr int kRegisters = 16;
  static constexpr int kTileRows[] = {12, 6, 4};  // of a product's register tile, by vectors of its panel
  static constexpr int kDotRows = 4;              // of a kernel gradient's register tile
  static constexpr int kLowPrecisionVectors = 2;  // of rows in a low-precision register tile
  static constexpr bool kHasFma = true;
  static constexpr bool kHasLowPrecision = false;

  using Bfloat16 = PortableBfloat16;
  using Bytes = X86Bytes<&multiply_halves>;
  using FlushDenormals = X86FlushDenormals;
};

}  // namespace aefast
