/// A user's array as the engine sees it, in place: any numeric type, order and strides.
#pragma once

#include <cstdint>

#include "aefast/product/panel.hpp"

namespace aefast {

enum class DType { f16, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64 };

/// Calls f with a null pointer to the element type.
template <class F>
decltype(auto) with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f16: return f(static_cast<const Eigen::half*>(nullptr));
    case DType::f32: return f(static_cast<const float*>(nullptr));
    case DType::i8: return f(static_cast<const std::int8_t*>(nullptr));
    case DType::i16: return f(static_cast<const std::int16_t*>(nullptr));
    case DType::i32: return f(static_cast<const std::int32_t*>(nullptr));
    case DType::i64: return f(static_cast<const std::int64_t*>(nullptr));
    case DType::u8: return f(static_cast<const std::uint8_t*>(nullptr));
    case DType::u16: return f(static_cast<const std::uint16_t*>(nullptr));
    case DType::u32: return f(static_cast<const std::uint32_t*>(nullptr));
    case DType::u64: return f(static_cast<const std::uint64_t*>(nullptr));
    default: return f(static_cast<const double*>(nullptr));
  }
}

/// A borrowed n x d array. Strides are in bytes and multiples of the element size.
struct InputView {
  const std::byte* data;
  DType dtype;
  Index rows;
  Index columns;
  Index row_stride;
  Index column_stride;
  const std::byte* const* starts = nullptr;  // first elements of separate columns; replaces `data` and `column_stride`

  const std::byte* column(Index j) const { return starts ? starts[j] : data + j * column_stride; }
  /// The columns in `wanted`.
  InputView part(const Features& wanted) const {
    return {data + wanted.first * column_stride,     dtype, rows, wanted.count(), row_stride, column_stride,
            starts ? starts + wanted.first : nullptr};
  }
};

/// The rows of an array that make up a batch: a contiguous range, or a list of indices.
struct RowList {
  Index first = 0;
  const Index* indices = nullptr;
  Index n_known = 0;  // length of the list; rows of it beyond the current block may be prefetched

  Index operator[](Index i) const { return indices ? indices[i] : first + i; }
  RowList from(Index i) const { return {first + i, indices ? indices + i : nullptr, n_known - i}; }
};

}  // namespace aefast
