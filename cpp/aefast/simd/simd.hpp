/// The instruction-set level of this build, and what the kernels do with registers on every level.
///
/// This is the one place that selects a level. A level is one file that defines `load_first`, `narrow`, `Mask` and its
/// functions, the operations on quads in `detail`, and a struct with its sizes and its products of packed words.
#pragma once

#include <iterator>
#include <limits>

#if defined(__AVX512BF16__) && defined(__AVX512VNNI__)
#include "x86_avx512_bf16.hpp"
namespace aefast {
using Level = Avx512Bf16;
}
#elif defined(__AVX512F__)
#include "x86_avx512.hpp"
namespace aefast {
using Level = Avx512;
}
#elif defined(__AVX2__)
#include "x86_avx2.hpp"
namespace aefast {
using Level = Avx2;
}
#elif defined(__SSE2__)
#include "x86_sse.hpp"
namespace aefast {
using Level = Sse;
}
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC) && defined(__ARM_FEATURE_MATMUL_INT8)
#include "arm_neon_bf16.hpp"
namespace aefast {
using Level = NeonBf16;
}
#elif defined(__aarch64__) || defined(__arm64__)
#include "arm_neon.hpp"
namespace aefast {
using Level = Neon;
}
#else
#include "generic.hpp"
namespace aefast {
using Level = Generic;
}
#endif

namespace aefast {

inline constexpr int kRegisters = Level::kRegisters;

/// Vectors in the widest panel, and the widest panel in elements.
inline constexpr int kMaxVectors = static_cast<int>(std::size(Level::kTileRows));
template <class T>
inline constexpr Index kPanel = kMaxVectors * kLanes<T>;

/// The lanes that hold neither NaN nor infinity.
template <class T>
Mask<T> is_known(const Vec<T>& a) {
  return less(abs(a), Vec<T>(std::numeric_limits<T>::infinity()));
}

/// -1, 0 or 1.
template <class T>
Vec<T> sign(const Vec<T>& a) {
  const Vec<T> zero(T(0));
  return mask_and(less(zero, a), Vec<T>(T(1))) - mask_and(less(a, zero), Vec<T>(T(1)));
}

/// to[i] = f(from[i]...) for `n` elements, a multiple of the lanes; all pointers are aligned.
template <class T, class F, class... In>
void map(T* to, Index n, F&& f, const In*... from) {
  for (Index i = 0; i < n; i += kLanes<T>) f(Vec<T>::load(from + i)...).store(to + i);
}

/// The sums across lanes of kLanes registers, side by side.
template <class T>
[[gnu::always_inline]] inline Vec<T> sums_across(const Vec<T>* each) {
  Vec<T> of_quads[kLanes<T> / kQuad<T>];
  AEFAST_UNROLL
  for (Index i = 0; i < kLanes<T> / kQuad<T>; ++i) of_quads[i] = detail::sum_within_quads(each + i * kQuad<T>);
  return detail::sum_quads(of_quads);
}

/// Loads columns [at, at + kQuad) of kLanes rows, one register a column; row(i) is the address of row i.
template <class T, class Rows>
[[gnu::always_inline]] inline void load_columns(const Rows& row, Index at, Vec<T>* columns) {
  AEFAST_UNROLL
  for (Index i = 0; i < kQuad<T>; ++i) columns[i] = detail::load_quads<T>(row, i, at);
  detail::transpose_quads(columns);
}

/// Transposes kLanes registers.
template <class T>
[[gnu::always_inline]] inline void transpose(Vec<T>* square) {
  AEFAST_UNROLL
  for (Index i = 0; i < kLanes<T>; i += kQuad<T>) detail::transpose_quads(square + i);
  AEFAST_UNROLL
  for (Index i = 0; i < kQuad<T>; ++i) detail::exchange_quads(square + i, kQuad<T>);
}

/// Copies element (i, j) of `from` to (j, i) of `to`, for kLanes rows i and columns j; rows from `n_rows` on count as
/// zero.
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
