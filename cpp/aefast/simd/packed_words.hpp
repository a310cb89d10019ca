/// Registers of 32-bit words that hold two bfloat16 numbers or four bytes, and portable versions of their products.
/// Levels with instructions for these products have their own versions, which compute the same bits.
#pragma once

#include <cstdint>

#include "vec.hpp"

namespace aefast {

inline constexpr int kRegisterBytes = static_cast<int>(kLanes<float>) * 4;
/// A register of words, of signed words, of 16-bit halves, or of floats.
using Words = std::uint32_t __attribute__((vector_size(kRegisterBytes)));
using Integers = std::int32_t __attribute__((vector_size(kRegisterBytes)));
using Halves = std::int16_t __attribute__((vector_size(kRegisterBytes)));
using Floats = float __attribute__((vector_size(kRegisterBytes)));
using Float = Vec<float>;

inline Words bits(const Float& x) { return (Words)x.p; }
inline Float as_float(const Words& words) { return Float((Float::Packet)words); }
inline Words load(const std::uint32_t* from) { return (Words)Float::load(reinterpret_cast<const float*>(from)).p; }
inline void store(const Words& words, std::uint32_t* to) { as_float(words).store(reinterpret_cast<float*>(to)); }
inline Words broadcast(std::uint32_t word) { return Words{} + word; }

/// The nearest bfloat16, ties to even, in the upper half of each word; denormals become zero.
inline Words round_to_bfloat16(const Float& x) {
  const Words word = bits(x), magnitude = word & 0x7fffffffu;
  const Words rounded = word + 0x7fffu + ((word >> 16) & 1u);
  const Words is_nan = (Words)(magnitude > 0x7f800000u), is_denormal = (Words)(magnitude < 0x00800000u);
  const Words kept = (rounded & ~is_nan) | ((word | 0x00400000u) & is_nan);
  return ((kept & ~is_denormal) | (word & 0x80000000u & is_denormal)) & 0xffff0000u;
}

struct PortableBfloat16 {
  using Sum = Floats;

  /// Packs two features of each row into one word.
  static Words pack(const Float& even, const Float& odd) {
    return (round_to_bfloat16(even) >> 16) | round_to_bfloat16(odd);
  }

  /// sum + a_odd b_odd + a_even b_even.
  static Sum dot(const Sum& sum, const Words& a, const Words& b) {
    const Float odd = fma(as_float(a & 0xffff0000u), as_float(b & 0xffff0000u), Float((Float::Packet)sum));
    return (Floats)fma(as_float(a << 16), as_float(b << 16), odd).p;
  }
};

struct PortableBytes {
  using Sum = Words;

  /// sum + the products of four unsigned bytes of `a` with four signed ones of `b`.
  static Sum dot(const Sum& sum, const Words& a, const Words& b) {
    Words total = sum;
    for (int byte = 0; byte < 4; ++byte) {
      total += ((a >> (8 * byte)) & 0xffu) * (Words)((Integers)(b << (24 - 8 * byte)) >> 24);
    }
    return total;
  }
};

/// Stands for FlushDenormals on processors that the engine cannot make flush denormals.
struct KeepDenormals {};

}  // namespace aefast
