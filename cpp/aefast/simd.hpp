/// `Vec<T>`: one SIMD register of T. The one file that names Eigen's packets (and words.hpp some
/// instructions); everything else is arithmetic.
#pragma once

#include <limits>

#include "types.hpp"

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
/// Masks: all bits of a lane set where the relation holds.
template <class T> Vec<T> less(const Vec<T>& a, const Vec<T>& b) { return packet::pcmp_lt(a.p, b.p); }
template <class T> Vec<T> select(const Vec<T>& mask, const Vec<T>& yes, const Vec<T>& no) { return packet::pselect(mask.p, yes.p, no.p); }
template <class T> Vec<T> mask_and(const Vec<T>& mask, const Vec<T>& a) { return packet::pand(mask.p, a.p); }
/// A mask of what is neither NaN nor infinite.
template <class T> Vec<T> is_known(const Vec<T>& a) { return less(abs(a), Vec<T>(std::numeric_limits<T>::infinity())); }
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

/// Transposes a square, one row a register.
template <class T>
void transpose(Vec<T> (&square)[static_cast<std::size_t>(kLanes<T>)]) {
  packet::PacketBlock<typename Vec<T>::Packet, static_cast<int>(kLanes<T>)> block;
  for (Index i = 0; i < kLanes<T>; ++i) block.packet[i] = square[i].p;
  packet::ptranspose(block);
  for (Index i = 0; i < kLanes<T>; ++i) square[i].p = block.packet[i];
}

/// The same between two row-major arrays.
template <class T>
void transpose_square(const T* from, Index from_stride, T* to, Index to_stride) {
  Vec<T> square[static_cast<std::size_t>(kLanes<T>)];
  for (Index i = 0; i < kLanes<T>; ++i) square[i] = Vec<T>::load(from + i * from_stride);
  transpose(square);
  for (Index i = 0; i < kLanes<T>; ++i) square[i].store(to + i * to_stride);
}

}  // namespace aefast
