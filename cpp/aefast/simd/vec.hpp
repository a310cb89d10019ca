/// `Vec<T>`: one SIMD register of T and its arithmetic, from Eigen's packets.
#pragma once

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

/// Elements of T in a quad: 16 bytes, within which every level can shuffle elements cheaply.
template <class T>
inline constexpr Index kQuad = 16 / static_cast<Index>(sizeof(T));

// clang-format off
/// a * b + c, rounded once on levels with fused multiply-adds.
template <class T> Vec<T> fma(const Vec<T>& a, const Vec<T>& b, const Vec<T>& c) { return packet::pmadd(a.p, b.p, c.p); }
template <class T> Vec<T> max(const Vec<T>& a, const Vec<T>& b) { return packet::pmax(a.p, b.p); }
template <class T> Vec<T> min(const Vec<T>& a, const Vec<T>& b) { return packet::pmin(a.p, b.p); }
template <class T> Vec<T> abs(const Vec<T>& a) { return packet::pabs(a.p); }
template <class T> Vec<T> sqrt(const Vec<T>& a) { return packet::psqrt(a.p); }
template <class T> Vec<T> exp(const Vec<T>& a) { return packet::pexp(a.p); }
template <class T> Vec<T> log(const Vec<T>& a) { return packet::plog(a.p); }
template <class T> T sum(const Vec<T>& a) { return packet::predux(a.p); }
// clang-format on

/// a * 2^power of floats, for integers from -126 to 127.
template <class V>
V times_power(const V& a, const V& power) {
  using Packet = typename V::Packet;
  using Integers = typename packet::unpacket_traits<Packet>::integer_packet;
  const Integers biased = packet::pcast<Packet, Integers>((power + V(127.0f)).p);
  return a * V(packet::preinterpret<Packet>(packet::plogical_shift_left<23>(biased)));
}

}  // namespace aefast
