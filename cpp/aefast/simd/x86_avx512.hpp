/// The level of AVX-512 (F, BW, DQ, VL): 32 registers of 64 bytes, and masks in registers of their own.
#pragma once

#include <immintrin.h>

#include "x86_quads.hpp"
#include "x86_words.hpp"

namespace aefast {

/// The first `n` elements, 1 <= n <= kLanes, and zeros; nothing past them is read.
template <class T>
Vec<T> load_first(const T* from, Index n) {
  const auto mask = (1u << n) - 1;
  if constexpr (sizeof(T) == 4) return _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), from);
  else return _mm512_maskz_loadu_pd(static_cast<__mmask8>(mask), from);
}

/// Two registers of double as one of float.
inline Vec<float> narrow(const Vec<double>& low, const Vec<double>& high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low.p)), _mm512_cvtpd_ps(high.p), 1);
}

/// The result of a comparison, by lane.
template <class T>
struct Mask {
  std::conditional_t<sizeof(T) == 4, __mmask16, __mmask8> lanes;
};

template <class T>
Mask<T> less(const Vec<T>& a, const Vec<T>& b) {
  if constexpr (sizeof(T) == 4) return {_mm512_cmp_ps_mask(a.p, b.p, _CMP_LT_OQ)};
  else return {_mm512_cmp_pd_mask(a.p, b.p, _CMP_LT_OQ)};
}

template <class T>
Vec<T> select(const Mask<T>& mask, const Vec<T>& yes, const Vec<T>& no) {
  if constexpr (sizeof(T) == 4) return _mm512_mask_blend_ps(mask.lanes, no.p, yes.p);
  else return _mm512_mask_blend_pd(mask.lanes, no.p, yes.p);
}

/// `a` in the lanes of the mask, 0 in the others.
template <class T>
Vec<T> mask_and(const Mask<T>& mask, const Vec<T>& a) {
  if constexpr (sizeof(T) == 4) return _mm512_maskz_mov_ps(mask.lanes, a.p);
  else return _mm512_maskz_mov_pd(mask.lanes, a.p);
}

/// The value in [-limit, limit] that is nearest to `a`; unspecified for NaN.
template <class T>
Vec<T> clip(const Vec<T>& a, const Vec<T>& limit) {
  constexpr int kLeastMagnitudeWithSignOfFirst = 2;
  if constexpr (sizeof(T) == 4) return _mm512_range_ps(a.p, limit.p, kLeastMagnitudeWithSignOfFirst);
  else return _mm512_range_pd(a.p, limit.p, kLeastMagnitudeWithSignOfFirst);
}

/// a * 2^power.
inline Vec<float> times_power(const Vec<float>& a, const Vec<float>& power) { return _mm512_scalef_ps(a.p, power.p); }

namespace detail {

/// The quads at element `at` of every kQuad-th row from `first` on, side by side.
template <class T, class Rows>
[[gnu::always_inline]] inline Vec<T> load_quads(const Rows& row, Index first, Index at) {
  const auto quad = [&](Index i) {
    return _mm_loadu_ps(reinterpret_cast<const float*>(row(first + i * kQuad<T>) + at));
  };
  __m512 all = _mm512_insertf32x4(_mm512_castps128_ps512(quad(0)), quad(1), 1);
  all = _mm512_insertf32x4(_mm512_insertf32x4(all, quad(2), 2), quad(3), 3);
  if constexpr (sizeof(T) == 4) return all;
  else return _mm512_castps_pd(all);
}

// Interleaves of the lower or upper halves of each quad, by element and by pair of elements.
template <class T>
Vec<T> interleave_low(const Vec<T>& a, const Vec<T>& b) {
  if constexpr (sizeof(T) == 4) return _mm512_unpacklo_ps(a.p, b.p);
  else return _mm512_unpacklo_pd(a.p, b.p);
}
template <class T>
Vec<T> interleave_high(const Vec<T>& a, const Vec<T>& b) {
  if constexpr (sizeof(T) == 4) return _mm512_unpackhi_ps(a.p, b.p);
  else return _mm512_unpackhi_pd(a.p, b.p);
}
inline Vec<float> interleave_low_pairs(const Vec<float>& a, const Vec<float>& b) {
  return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a.p), _mm512_castps_pd(b.p)));
}
inline Vec<float> interleave_high_pairs(const Vec<float>& a, const Vec<float>& b) {
  return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a.p), _mm512_castps_pd(b.p)));
}

/// Two quads of `x`, then two of `y`, those that the bits of kWhich name.
template <int kWhich, class T>
Vec<T> pick_quads(const Vec<T>& x, const Vec<T>& y) {
  if constexpr (sizeof(T) == 4) return _mm512_shuffle_f32x4(x.p, y.p, kWhich);
  else return _mm512_shuffle_f64x2(x.p, y.p, kWhich);
}
inline constexpr int kFirstTwo = 0x44, kLastTwo = 0xee, kEven = 0x88, kOdd = 0xdd;

/// Transposes the quads of four registers, `step` apart.
template <class T>
[[gnu::always_inline]] inline void exchange_quads(Vec<T>* square, Index step) {
  const Vec<T>&a = square[0], &b = square[step], &c = square[2 * step], &d = square[3 * step];
  const Vec<T> first_ab = pick_quads<kFirstTwo>(a, b), last_ab = pick_quads<kLastTwo>(a, b);
  const Vec<T> first_cd = pick_quads<kFirstTwo>(c, d), last_cd = pick_quads<kLastTwo>(c, d);
  square[0] = pick_quads<kEven>(first_ab, first_cd);
  square[step] = pick_quads<kOdd>(first_ab, first_cd);
  square[2 * step] = pick_quads<kEven>(last_ab, last_cd);
  square[3 * step] = pick_quads<kOdd>(last_ab, last_cd);
}

/// The sum of the quads of each of four registers, side by side.
template <class T>
[[gnu::always_inline]] inline Vec<T> sum_quads(const Vec<T>* each) {
  const auto halves = [](const Vec<T>& a, const Vec<T>& b) {  // a0 + a2, a1 + a3, b0 + b2, b1 + b3
    return pick_quads<kFirstTwo>(a, b) + pick_quads<kLastTwo>(a, b);
  };
  const Vec<T> x = halves(each[0], each[1]), y = halves(each[2], each[3]);
  return pick_quads<kEven>(x, y) + pick_quads<kOdd>(x, y);
}

}  // namespace detail

/// Sums of neighbouring products of 16-bit integers.
inline Words multiply_halves(const Words& a, const Words& b) {
  return (Words)_mm512_madd_epi16((__m512i)a, (__m512i)b);
}

struct Avx512 {
  static constexpr int kRegisters = 32;
  static constexpr int kTileRows[] = {12, 12, 8, 6};  // of a product's register tile, by vectors of its panel
  static constexpr int kDotRows = 8;                  // of a kernel gradient's register tile
  static constexpr int kLowPrecisionVectors = 4;      // of rows in a low-precision register tile
  static constexpr bool kHasFma = true;
  static constexpr bool kHasLowPrecision = false;

  using Bfloat16 = PortableBfloat16;
  using Bytes = X86Bytes<&multiply_halves>;
  using FlushDenormals = X86FlushDenormals;
};

}  // namespace aefast
