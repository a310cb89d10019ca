/// The product for gradients of thin layers, C = sum of products A B^T, with the depth in the lanes.
///
/// `multiply` (gemm.hpp) has columns of C in the lanes: for a layer of eight units, half of the lanes would be empty,
/// and one operand would have to be transposed. Here rows of both A and B are contiguous, as blocks store them. Each
/// element of C is summed in a register of its own, whose lanes are added at the end.
#pragma once

#include "gemm.hpp"

namespace aefast {
namespace detail {

/// Rows and columns of the register tile: as many elements as there are lanes, so that their sums fill one register.
template <class T>
inline constexpr Index kSumColumns = std::max<Index>(1, kLanes<T> / 4);
template <class T>
inline constexpr Index kSumRows = kLanes<T> / kSumColumns<T>;

/// Writes kSumRows x kSumColumns elements of C to `sums`, from the given rows of A and B.
template <class T>
[[gnu::always_inline]] inline void sum_tile(std::span<const Product<T>> products, const Index* a_rows,
                                            const Index* b_rows, T* sums) {
  constexpr Index kRows = kSumRows<T>, kColumns = kSumColumns<T>;
  Vec<T> sum[kRows * kColumns];
  AEFAST_UNROLL
  for (Vec<T>& each : sum) each = Vec<T>(T(0));
  for (const Product<T>& product : products) {
    const T *a[kRows], *b[kColumns];
    AEFAST_UNROLL
    for (Index i = 0; i < kRows; ++i) a[i] = product.a + a_rows[i] * product.a_row;
    AEFAST_UNROLL
    for (Index j = 0; j < kColumns; ++j) b[j] = product.b + b_rows[j] * product.a_row;
    const auto add = [&](auto&& load) {
      Vec<T> right[kColumns];
      AEFAST_UNROLL
      for (Index j = 0; j < kColumns; ++j) right[j] = load(b[j]);
      AEFAST_UNROLL
      for (Index i = 0; i < kRows; ++i) {
        const Vec<T> left = load(a[i]);
        AEFAST_UNROLL
        for (Index j = 0; j < kColumns; ++j) sum[i * kColumns + j] = fma(left, right[j], sum[i * kColumns + j]);
      }
    };
    const Index whole = product.depth / kLanes<T> * kLanes<T>;
    for (Index k = 0; k < whole; k += kLanes<T>) {
      add([&](const T* from) { return Vec<T>::load(from + k); });
      AEFAST_UNROLL
      for (Index i = 0; i < kRows; ++i) __builtin_prefetch(a[i] + kRows * product.a_row + k);  // for the next tile
    }
    const Index rest = product.depth - whole;
    if (rest > 0) add([&](const T* from) { return load_first(from + whole, rest); });
  }
  sums_across(sum).store(sums);
}

}  // namespace detail

/// C (rows x columns, rows `c_row` apart) = sum of products A B^T. The depth of A and B is contiguous and aligned; rows
/// of both are `a_row` apart. With `accumulate` the products are added to C.
template <class T>
void multiply_thin(Index rows, Index columns, std::span<const Product<T>> products, T* c, Index c_row,
                   bool accumulate = false) {
  constexpr Index kRows = detail::kSumRows<T>, kColumns = detail::kSumColumns<T>;
  for (Index row = 0; row < rows; row += kRows) {
    const Index n_rows = std::min(kRows, rows - row);
    for (Index column = 0; column < columns; column += kColumns) {
      const Index n_columns = std::min(kColumns, columns - column);
      Index a_rows[kRows], b_rows[kColumns];
      AEFAST_UNROLL
      for (Index i = 0; i < kRows; ++i) a_rows[i] = row + std::min(i, n_rows - 1);
      AEFAST_UNROLL
      for (Index j = 0; j < kColumns; ++j) b_rows[j] = column + std::min(j, n_columns - 1);
      alignas(kAlignment) T sums[kLanes<T>];
      detail::sum_tile(products, a_rows, b_rows, sums);
      const auto store = [&](auto n) __attribute__((always_inline)) {
        for (Index i = 0; i < n_rows; ++i) {
          T* to = c + (row + i) * c_row + column;
          for (Index j = 0; j < n; ++j) to[j] = (accumulate ? to[j] : T(0)) + sums[i * kColumns + j];
        }
      };
      if (n_columns == kColumns) store(std::integral_constant<Index, kColumns>{});
      else store(n_columns);
    }
  }
}

}  // namespace aefast
