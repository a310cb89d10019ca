/// Products of bytes and the treatment of denormals, for all levels of x86.
#pragma once

#include <immintrin.h>

#include "packed_words.hpp"

namespace aefast {

/// Prevents the compiler from merging or moving the computation of `x`.
template <class Packet>
void keep_computed(Packet& x) {
  asm volatile("" : "+v"(x));
}

/// Products of bytes by way of 16-bit halves: `kMultiplyHalves` sums neighbouring products of these.
template <Words (*kMultiplyHalves)(const Words&, const Words&)>
struct X86Bytes {
  using Sum = Words;

  /// sum + the products of four unsigned bytes of `a` with four signed ones of `b`.
  static Sum dot(const Sum& sum, const Words& a, const Words& b) {
    const Words b_even = (Words)((Halves)(b << 8) >> 8), b_odd = (Words)((Halves)b >> 8);
    return sum + kMultiplyHalves(a & 0x00ff00ffu, b_even) + kMultiplyHalves((a >> 8) & 0x00ff00ffu, b_odd);
  }
};

/// Denormal numbers count as zero while an object of this class lives, as the instructions for bfloat16 have it.
class X86FlushDenormals {
 public:
  X86FlushDenormals() : before_(_mm_getcsr()) {
    if (changes()) _mm_setcsr(before_ | kFlush);
  }
  ~X86FlushDenormals() {
    if (changes()) _mm_setcsr(before_);
  }
  X86FlushDenormals(const X86FlushDenormals&) = delete;
  X86FlushDenormals& operator=(const X86FlushDenormals&) = delete;

 private:
  static constexpr unsigned kFlush = 0x8040u;  // of results and of operands

  bool changes() const { return (before_ & kFlush) != kFlush; }

  unsigned before_;
};

}  // namespace aefast
