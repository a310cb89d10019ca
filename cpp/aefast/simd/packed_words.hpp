/// Registers of 32-bit words that hold two bfloat16 numbers or four bytes, and their products. With simd.hpp the only
/// file that names instructions.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include <cstdint>

#include "simd.hpp"

namespace aefast {

inline constexpr int kRegisterBytes = static_cast<int>(kLanes<float>) * 4;
/// A register of words, of their halves, or of floats.
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

/// To the nearest bfloat16, the even one of two, in the upper half of each word; denormals to zero.
inline Words round_to_bfloat16(const Float& x) {
  const Words word = bits(x), magnitude = word & 0x7fffffffu;
  const Words rounded = word + 0x7fffu + ((word >> 16) & 1u);
  const Words is_nan = (Words)(magnitude > 0x7f800000u), is_denormal = (Words)(magnitude < 0x00800000u);
  const Words kept = (rounded & ~is_nan) | ((word | 0x00400000u) & is_nan);
  return ((kept & ~is_denormal) | (word & 0x80000000u & is_denormal)) & 0xffff0000u;
}

/// One word of bfloat16 from two features.
inline Words pack_pair(const Float& even, const Float& odd) {
#if defined(__AVX512BF16__)
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return (Words)_mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(odd.p, even.p));
#else
  return (round_to_bfloat16(even) >> 16) | round_to_bfloat16(odd);
#endif
}

/// sum + a_odd b_odd + a_even b_even, of bfloat16.
struct Bfloat16 {
  using Sum = Floats;

  static Sum dot(const Sum& sum, const Words& a, const Words& b) {
#if defined(__AVX512BF16__)
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
#else
    const Float odd = fma(as_float(a & 0xffff0000u), as_float(b & 0xffff0000u), Float((Float::Packet)sum));
    return (Floats)fma(as_float(a << 16), as_float(b << 16), odd).p;
#endif
  }
};

#if defined(__SSE2__)
/// Sums of neighbouring products.
inline Words multiply_halves(const Words& a, const Words& b) {
#if defined(__AVX512BW__)
  return (Words)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (Words)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
  return (Words)_mm_madd_epi16((__m128i)a, (__m128i)b);
#endif
}
#endif

/// sum + the products of four unsigned bytes of `a` with four signed ones of `b`.
struct Bytes {
  using Sum = Words;

  static Sum dot(const Sum& sum, const Words& a, const Words& b) {
#if defined(__AVX512VNNI__)
    return (Words)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__SSE2__)
    const Words b_even = (Words)((Halves)(b << 8) >> 8), b_odd = (Words)((Halves)b >> 8);
    return sum + multiply_halves(a & 0x00ff00ffu, b_even) + multiply_halves((a >> 8) & 0x00ff00ffu, b_odd);
#else
    Words total = sum;
    for (int byte = 0; byte < 4; ++byte) {
      total += ((a >> (8 * byte)) & 0xffu) * (Words)((Integers)(b << (24 - 8 * byte)) >> 24);
    }
    return total;
#endif
  }
};

/// Denormal numbers are zero while this lives, as they are to the instructions of bfloat16.
class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040u); }
  ~FlushDenormals() { _mm_setcsr(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned before_;
#endif
};

}  // namespace aefast
