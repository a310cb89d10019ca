/// The level of 64-bit Arm with BF16 and I8MM: instructions for products of bfloat16 and of bytes.
#pragma once

#include <arm_neon.h>

#include "arm_neon.hpp"

namespace aefast {

/// Products by BFMLALT and BFMLALB, which round each sum to nearest as x86 does. BFDOT and BFMMLA multiply twice as
/// much at once but round to odd (Arm ARM, BFDotAdd), so that their bits would differ from those of the other levels.
struct ArmBfloat16 {
  using Sum = Floats;

  /// Packs two features of each row into one word.
  static Words pack(const Float& even, const Float& odd) {
    const auto rounded = [](const Float& x) { return vmovl_u16(vreinterpret_u16_bf16(vcvt_bf16_f32(x.p))); };
    return (Words)vsliq_n_u32(rounded(even), rounded(odd), 16);
  }

  /// sum + a_odd b_odd + a_even b_even.
  static Sum dot(const Sum& sum, const Words& a, const Words& b) {
    const bfloat16x8_t left = vreinterpretq_bf16_u32((uint32x4_t)a), right = vreinterpretq_bf16_u32((uint32x4_t)b);
    return (Sum)vbfmlalbq_f32(vbfmlaltq_f32((float32x4_t)sum, left, right), left, right);
  }
};

struct ArmBytes {
  using Sum = Words;

  /// sum + the products of four unsigned bytes of `a` with four signed ones of `b`.
  static Sum dot(const Sum& sum, const Words& a, const Words& b) {
    return (Words)vusdotq_s32((int32x4_t)sum, vreinterpretq_u8_u32((uint32x4_t)a), vreinterpretq_s8_u32((uint32x4_t)b));
  }
};

struct NeonBf16 : Neon {
  static constexpr bool kHasLowPrecision = true;

  using Bfloat16 = ArmBfloat16;
  using Bytes = ArmBytes;
};

}  // namespace aefast
