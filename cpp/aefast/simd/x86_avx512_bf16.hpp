/// The level of AVX-512 with BF16 and VNNI: instructions for products of bfloat16 and of bytes.
#pragma once

#include "x86_avx512.hpp"

namespace aefast {

struct X86Bfloat16 {
  using Sum = Floats;

  /// Packs two features of each row into one word.
  static Words pack(const Float& even, const Float& odd) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return (Words)_mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(odd.p, even.p));
  }

  /// sum + a_odd b_odd + a_even b_even.
  static Sum dot(const Sum& sum, const Words& a, const Words& b) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
  }
};

struct X86VnniBytes {
  using Sum = Words;

  /// sum + the products of four unsigned bytes of `a` with four signed ones of `b`.
  static Sum dot(const Sum& sum, const Words& a, const Words& b) {
    return (Words)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
  }
};

struct Avx512Bf16 : Avx512 {
  static constexpr bool kHasLowPrecision = true;

  using Bfloat16 = X86Bfloat16;
  using Bytes = X86VnniBytes;
};

}  // namespace aefast
