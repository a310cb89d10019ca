/// `Vec<T>`: one SIMD register of T. The one file that names Eigen's packets (and words.hpp some
/// instructions); everything else is arithmetic.
#pragma once

#include <limits>

#include "aefast/core/types.hpp"

#if defined(__clang__)
#define AEFAST_UNROLL _Pragma("unroll")
#else
#define AEFAST_UNROLL _Pragma("GCC unroll 16")
#endif

namespace aefast {

namespace packet = Eigen::internal;

template <class T>
struct Vec {
  using Packet = typename packet::packet_traits<T>::type;
  static constexpr Index kLanes = packet::packet_traits<T>::size;

  Packet p;

  Vec() = default;
  Vec(const Packet& packet) : p(packet) {}
  Vec(T scalar) : p(packet::pset1<Packet>(scalar)) {}

  static Vec load(const T* from) { return packet::pload<Packet>(from); }
  static Vec load_unaligned(const T* from) { return packet::ploadu<Packet>(from); }
  void store(T* to) const { packet::pstore(to, p); }
  void store_unaligned(T* to) const { packet::pstoreu(to, p); }

  friend Vec operator+(const Vec& a, const Vec& b) { return packet::padd(a.p, b.p); }
  friend Vec operator-(const Vec& a, const Vec& b) { return packet::psub(a.p, b.p); }
  friend Vec operator*(const Vec& a, const Vec& b) { return packet::pmul(a.p, b.p); }
  friend Vec operator/(const Vec& a, const Vec& b) { return packet::pdiv(a.p, b.p); }
  friend Vec operator-(const Vec& a) { return packet::pnegate(a.p); }
};

template <class T>
inline constexpr Index kLanes = Vec<T>::kLanes;

/// Registers a kernel may count on: 32 with AVX-512 and on 64-bit Arm, 16 elsewhere.
#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int kRegisters = 32;
#else
inline constexpr int kRegisters = 16;
#endif

// clang-format off
/// a * b + c, rounded once where the processor can.
template <class T> Vec<T> fma(const Vec<T>& a, const Vec<T>& b, const Vec<T>& c) { return packet::pmadd(a.p, b.p, c.p); }
template <class T> Vec<T> max(const Vec<T>& a, const Vec<T>& b) { return packet::pmax(a.p, b.p); }
template <class T> Vec<T> min(const Vec<T>& a, const Vec<T>& b) { return packet::pmin(a.p, b.p); }
template <class T> Vec<T> abs(const Vec<T>& a) { return packet::pabs(a.p); }
template <class T> Vec<T> sqrt(const Vec<T>& a) { return packet::psqrt(a.p); }
template <class T> Vec<T> exp(const Vec<T>& a) { return packet::pexp(a.p); }
template <class T> Vec<T> log(const Vec<T>& a) { return packet::plog(a.p); }
template <class T> T sum(const Vec<T>& a) { return packet::predux(a.p); }
// clang-format on

/// The first `n` elements, 1 <= n <= kLanes, and zeros; nothing past them is touched.
template <class T>
Vec<T> load_first(const T* from, Index n) {
#if defined(__AVX512F__)
  const auto mask = (1u << n) - 1;
  if constexpr (sizeof(T) == 4) return _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), from);
  else return _mm512_maskz_loadu_pd(static_cast<__mmask8>(mask), from);
#elif defined(__AVX2__)
  constexpr int kWords = 8;
  alignas(32) static constexpr int kMask[2 * kWords] = {-1, -1, -1, -1, -1, -1, -1, -1};
  const int words = static_cast<int>(n * static_cast<Index>(sizeof(T)) / 4);
  const __m256i mask = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask + kWords - words));
  if constexpr (sizeof(T) == 4) return _mm256_maskload_ps(from, mask);
  else return _mm256_maskload_pd(from, mask);
#else
  alignas(kAlignment) T lanes[kLanes<T>] = {};
  std::copy_n(from, n, lanes);
  return Vec<T>::load(lanes);
#endif
}

/// Two registers of double as one of float.
inline Vec<float> narrow(const Vec<double>& low, const Vec<double>& high) {
#if defined(__AVX512F__)
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low.p)), _mm512_cvtpd_ps(high.p), 1);
#elif defined(__AVX2__)
  return _mm256_set_m128(_mm256_cvtpd_ps(high.p), _mm256_cvtpd_ps(low.p));
#else
  alignas(kAlignment) double wide[kLanes<float>];
  alignas(kAlignment) float lanes[kLanes<float>];
  low.store(wide);
  high.store(wide + kLanes<double>);
  std::transform(wide, wide + kLanes<float>, lanes, [](double x) { return static_cast<float>(x); });
  return Vec<float>::load(lanes);
#endif
}

/// What a comparison says of each lane.
template <class T>
struct Mask {
#if defined(__AVX512F__)
  std::conditional_t<sizeof(T) == 4, __mmask16, __mmask8> lanes;
#else
  typename Vec<T>::Packet lanes;  // all bits set where it holds
#endif
};

template <class T>
Mask<T> less(const Vec<T>& a, const Vec<T>& b) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return {_mm512_cmp_ps_mask(a.p, b.p, _CMP_LT_OQ)};
  else return {_mm512_cmp_pd_mask(a.p, b.p, _CMP_LT_OQ)};
#else
  return {packet::pcmp_lt(a.p, b.p)};
#endif
}

template <class T>
Vec<T> select(const Mask<T>& mask, const Vec<T>& yes, const Vec<T>& no) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return _mm512_mask_blend_ps(mask.lanes, no.p, yes.p);
  else return _mm512_mask_blend_pd(mask.lanes, no.p, yes.p);
#else
  return packet::pselect(mask.lanes, yes.p, no.p);
#endif
}

/// a where the mask holds, else 0.
template <class T>
Vec<T> mask_and(const Mask<T>& mask, const Vec<T>& a) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return _mm512_maskz_mov_ps(mask.lanes, a.p);
  else return _mm512_maskz_mov_pd(mask.lanes, a.p);
#else
  return packet::pand(mask.lanes, a.p);
#endif
}

/// Of what is neither NaN nor infinite.
template <class T>
Mask<T> is_known(const Vec<T>& a) {
  return less(abs(a), Vec<T>(std::numeric_limits<T>::infinity()));
}

/// The nearest to a of the values from -limit to limit; of a NaN, anything.
template <class T>
Vec<T> clip(const Vec<T>& a, const Vec<T>& limit) {
#if defined(__AVX512DQ__)
  constexpr int kLeastMagnitudeWithSignOfFirst = 2;
  if constexpr (sizeof(T) == 4) return _mm512_range_ps(a.p, limit.p, kLeastMagnitudeWithSignOfFirst);
  else return _mm512_range_pd(a.p, limit.p, kLeastMagnitudeWithSignOfFirst);
#else
  return max(min(a, limit), -limit);
#endif
}

/// -1, 0 or 1.
template <class T>
Vec<T> sign(const Vec<T>& a) {
  const Vec<T> zero(T(0));
  return mask_and(less(zero, a), Vec<T>(T(1))) - mask_and(less(a, zero), Vec<T>(T(1)));
}

/// y[i] = f(x[i]...) over `n` elements, a multiple of the lanes, all aligned.
template <class T, class F, class... In>
void map(T* to, Index n, F&& f, const In*... from) {
  for (Index i = 0; i < n; i += kLanes<T>) f(Vec<T>::load(from + i)...).store(to + i);
}

/// Elements of a row in 16 bytes, the piece by which rows are read when columns are wanted.
template <class T>
inline constexpr Index kPiece = 16 / static_cast<Index>(sizeof(T));

namespace detail {

/// The pieces at `at` of every kPiece-th row from `first` on, side by side.
template <class T, class Rows>
[[gnu::always_inline]] inline Vec<T> load_pieces(const Rows& row, Index first, Index at) {
#if defined(__AVX512F__) || defined(__AVX2__)
  const auto piece = [&](Index i) {
    return _mm_loadu_ps(reinterpret_cast<const float*>(row(first + i * kPiece<T>) + at));
  };
#if defined(__AVX512F__)
  __m512 all = _mm512_insertf32x4(_mm512_castps128_ps512(piece(0)), piece(1), 1);
  all = _mm512_insertf32x4(_mm512_insertf32x4(all, piece(2), 2), piece(3), 3);
  if constexpr (sizeof(T) == 4) return all;
  else return _mm512_castps_pd(all);
#else
  const __m256 all = _mm256_insertf128_ps(_mm256_castps128_ps256(piece(0)), piece(1), 1);
  if constexpr (sizeof(T) == 4) return all;
  else return _mm256_castps_pd(all);
#endif
#else
  static_assert(kLanes<T> == kPiece<T>);
  return Vec<T>::load_unaligned(row(first) + at);
#endif
}

#if defined(__AVX512F__)
#define AEFAST_MM(operation) _mm512_##operation
#elif defined(__AVX2__)
#define AEFAST_MM(operation) _mm256_##operation
#endif

/// Transposes each 16 bytes of the registers among themselves.
template <class T>
void transpose_pieces(Vec<T>* square) {
#ifdef AEFAST_MM
  if constexpr (sizeof(T) == 4) {
    const auto pairs = [](const Vec<T>& a, const Vec<T>& b, Vec<T>& low, Vec<T>& high) {
      const auto x = AEFAST_MM(castps_pd)(a.p), y = AEFAST_MM(castps_pd)(b.p);
      low = AEFAST_MM(castpd_ps)(AEFAST_MM(unpacklo_pd)(x, y));
      high = AEFAST_MM(castpd_ps)(AEFAST_MM(unpackhi_pd)(x, y));
    };
    const auto low_01 = AEFAST_MM(unpacklo_ps)(square[0].p, square[1].p);
    const auto high_01 = AEFAST_MM(unpackhi_ps)(square[0].p, square[1].p);
    const auto low_23 = AEFAST_MM(unpacklo_ps)(square[2].p, square[3].p);
    const auto high_23 = AEFAST_MM(unpackhi_ps)(square[2].p, square[3].p);
    pairs(low_01, low_23, square[0], square[1]);
    pairs(high_01, high_23, square[2], square[3]);
  } else {
    const auto low = AEFAST_MM(unpacklo_pd)(square[0].p, square[1].p);
    square[1] = AEFAST_MM(unpackhi_pd)(square[0].p, square[1].p);
    square[0] = low;
  }
#else
  packet::PacketBlock<typename Vec<T>::Packet, static_cast<int>(kPiece<T>)> block;
  for (Index i = 0; i < kPiece<T>; ++i) block.packet[i] = square[i].p;
  packet::ptranspose(block);
  for (Index i = 0; i < kPiece<T>; ++i) square[i].p = block.packet[i];
#endif
}

/// Pieces of two registers side by side, those of each that the bits of kWhich name.
#if defined(__AVX512F__)
template <int kWhich, class T>
Vec<T> pick_pieces(const Vec<T>& x, const Vec<T>& y) {
  if constexpr (sizeof(T) == 4) return _mm512_shuffle_f32x4(x.p, y.p, kWhich);
  else return _mm512_shuffle_f64x2(x.p, y.p, kWhich);
}
inline constexpr int kFirstTwo = 0x44, kLastTwo = 0xee, kEven = 0x88, kOdd = 0xdd;
#elif defined(__AVX2__)
template <int kWhich, class T>
Vec<T> pick_pieces(const Vec<T>& x, const Vec<T>& y) {
  if constexpr (sizeof(T) == 4) return _mm256_permute2f128_ps(x.p, y.p, kWhich);
  else return _mm256_permute2f128_pd(x.p, y.p, kWhich);
}
inline constexpr int kFirst = 0x20, kLast = 0x31;
#endif

/// Transposes the pieces of as many registers, `step` apart, as each has of them.
template <class T>
[[gnu::always_inline]] inline void exchange_pieces([[maybe_unused]] Vec<T>* square, [[maybe_unused]] Index step) {
#if defined(__AVX512F__)
  const Vec<T>&a = square[0], &b = square[step], &c = square[2 * step], &d = square[3 * step];
  const Vec<T> first_ab = pick_pieces<kFirstTwo>(a, b), last_ab = pick_pieces<kLastTwo>(a, b);
  const Vec<T> first_cd = pick_pieces<kFirstTwo>(c, d), last_cd = pick_pieces<kLastTwo>(c, d);
  square[0] = pick_pieces<kEven>(first_ab, first_cd);
  square[step] = pick_pieces<kOdd>(first_ab, first_cd);
  square[2 * step] = pick_pieces<kEven>(last_ab, last_cd);
  square[3 * step] = pick_pieces<kOdd>(last_ab, last_cd);
#elif defined(__AVX2__)
  const Vec<T> first = pick_pieces<kFirst>(square[0], square[step]);
  square[step] = pick_pieces<kLast>(square[0], square[step]);
  square[0] = first;
#else
  static_assert(kLanes<T> == kPiece<T>);
#endif
}

/// Of kPiece registers the sums of every 16 bytes, side by side in the same 16 bytes.
template <class T>
[[gnu::always_inline]] inline Vec<T> fold_within_pieces(const Vec<T>* each) {
#ifdef AEFAST_MM
  if constexpr (sizeof(T) == 4) {
    const auto fold = [](const Vec<T>& a, const Vec<T>& b) {
      return AEFAST_MM(add_ps)(AEFAST_MM(unpacklo_ps)(a.p, b.p), AEFAST_MM(unpackhi_ps)(a.p, b.p));
    };
    const auto x = AEFAST_MM(castps_pd)(fold(each[0], each[1])), y = AEFAST_MM(castps_pd)(fold(each[2], each[3]));
    return AEFAST_MM(add_ps)(AEFAST_MM(castpd_ps)(AEFAST_MM(unpacklo_pd)(x, y)),
                             AEFAST_MM(castpd_ps)(AEFAST_MM(unpackhi_pd)(x, y)));
  } else {
    const auto x = each[0].p, y = each[1].p;
    return AEFAST_MM(add_pd)(AEFAST_MM(unpacklo_pd)(x, y), AEFAST_MM(unpackhi_pd)(x, y));
  }
#else
  Vec<T> square[kPiece<T>];
  std::copy_n(each, kPiece<T>, square);
  transpose_pieces(square);
  Vec<T> total = square[0];
  for (Index i = 1; i < kPiece<T>; ++i) total = total + square[i];
  return total;
#endif
}

/// Of as many registers as each has pieces the sums of these, side by side.
template <class T>
[[gnu::always_inline]] inline Vec<T> fold_pieces(const Vec<T>* each) {
#if defined(__AVX512F__)
  const auto halves = [](const Vec<T>& a, const Vec<T>& b) {  // a0 + a2, a1 + a3, b0 + b2, b1 + b3
    return pick_pieces<kFirstTwo>(a, b) + pick_pieces<kLastTwo>(a, b);
  };
  const Vec<T> x = halves(each[0], each[1]), y = halves(each[2], each[3]);
  return pick_pieces<kEven>(x, y) + pick_pieces<kOdd>(x, y);
#elif defined(__AVX2__)
  return pick_pieces<kFirst>(each[0], each[1]) + pick_pieces<kLast>(each[0], each[1]);
#else
  static_assert(kLanes<T> == kPiece<T>);
  return each[0];
#endif
}
#undef AEFAST_MM

}  // namespace detail

/// The sums across lanes of kLanes registers, side by side.
template <class T>
[[gnu::always_inline]] inline Vec<T> sums_across(const Vec<T>* each) {
  Vec<T> of_pieces[kLanes<T> / kPiece<T>];
  AEFAST_UNROLL
  for (Index i = 0; i < kLanes<T> / kPiece<T>; ++i) of_pieces[i] = detail::fold_within_pieces(each + i * kPiece<T>);
  return detail::fold_pieces(of_pieces);
}

/// Columns at .. at + kPiece of kLanes rows, one register a column; row(i) is where row i begins.
template <class T, class Rows>
[[gnu::always_inline]] inline void load_columns(const Rows& row, Index at, Vec<T>* columns) {
  AEFAST_UNROLL
  for (Index i = 0; i < kPiece<T>; ++i) columns[i] = detail::load_pieces<T>(row, i, at);
  detail::transpose_pieces(columns);
}

/// Transposes kLanes registers.
template <class T>
[[gnu::always_inline]] inline void transpose(Vec<T>* square) {
  AEFAST_UNROLL
  for (Index i = 0; i < kLanes<T>; i += kPiece<T>) detail::transpose_pieces(square + i);
  AEFAST_UNROLL
  for (Index i = 0; i < kPiece<T>; ++i) detail::exchange_pieces(square + i, kPiece<T>);
}

/// Element (i, j) of `from` to (j, i) of `to`, for kLanes columns j and rows i; of these, the ones from `n_rows` on
/// count as zero.
template <class T>
void transpose_square(const T* from, Index from_stride, Index n_rows, T* to, Index to_stride) {
  alignas(kAlignment) static constexpr T kZeros[kLanes<T>] = {};
  const T* rows[kLanes<T>];
  for (Index i = 0; i < kLanes<T>; ++i) rows[i] = i < n_rows ? from + i * from_stride : kZeros;
  Vec<T> square[kLanes<T>];
  AEFAST_UNROLL
  for (Index i = 0; i < kLanes<T>; ++i) square[i] = Vec<T>::load(rows[i]);
  transpose(square);
  AEFAST_UNROLL
  for (Index j = 0; j < kLanes<T>; ++j) square[j].store(to + j * to_stride);
}

}  // namespace aefast
