/// Reading a user's array where it lies: any numeric dtype, order and strides, scaled in the same pass.
#pragma once

#include <cstdint>

#include "aefast/product/panel.hpp"

namespace aefast {

enum class DType { f16, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64 };

/// A borrowed n x d array. Strides are in bytes, whole elements of them.
struct InputView {
  const std::byte* data;
  DType dtype;
  Index rows;
  Index columns;
  Index row_stride;
  Index column_stride;
  const std::byte* const* starts = nullptr;  // of the columns, where each lies on its own; then `data` is not

  const std::byte* column(Index j) const { return starts ? starts[j] : data + j * column_stride; }
  /// Some of the columns.
  InputView part(const Features& wanted) const {
    return {data + wanted.first * column_stride,     dtype, rows, wanted.count(), row_stride, column_stride,
            starts ? starts + wanted.first : nullptr};
  }
};

/// Which rows of an array a batch consists of: a stretch, or a list.
struct RowList {
  Index first = 0;
  const Index* indices = nullptr;
  Index n_known = 0;  // of the list; those past a block are soon read too, and may be fetched

  Index operator[](Index i) const { return indices ? indices[i] : first + i; }
  RowList from(Index i) const { return {first + i, indices ? indices + i : nullptr, n_known - i}; }
};

/// z = clip((x - shift) / scale, -limit, limit), computed in double for inputs that float cannot hold.
/// NaN and infinities stay, as NaN, so that whatever is computed from them shows it; unless `fill` (in the scaled
/// space) has what takes their place, or `masks_missing` says that whoever reads will know what to do with them.
class Scaling {
 public:
  Scaling(Buffer<double> shift, Buffer<double> scale, double limit, Buffer<double> fill = {},
          bool masks_missing = false);

  /// The map that changes nothing.
  static Scaling none(Index n_features);

  Index size() const { return shift_.size(); }
  double shift(Index j) const { return shift_[j]; }
  double scale(Index j) const { return scale_[j]; }
  double limit() const { return limit_; }
  bool fills_missing() const { return fill_.size() > 0; }
  double fill(Index j) const { return fill_[j]; }
  bool masks_missing() const { return masks_missing_; }

  /// The map as (x - high) * inverse + offset, where high is the shift as C holds it and offset corrects for the rest.
  template <class C>
  struct Terms {
    Buffer<C> high, inverse, offset;
  };
  template <class C>
  const Terms<C>& terms() const {
    if constexpr (sizeof(C) == 4) return single_;
    else return double_;
  }

 private:
  Buffer<double> shift_, scale_;
  double limit_;
  Buffer<double> fill_;
  bool masks_missing_;
  Terms<float> single_;
  Terms<double> double_;
};

/// Reads the rows of `block`, which are those of `rows` from block.first_row on, scaled, feature by feature. Lanes past
/// the last row repeat it. The input may begin at the feature `first` of the scaling's.
template <class T>
void read_block(const InputView& input, const Scaling& scaling, const RowList& rows, const Block& block, T* to,
                Index first = 0);

/// Of each row of `block`, a stretch of the input's, the elements in the columns that `columns` (n_rows x n) names.
void read_elements(const InputView& input, const Block& block, Index n, const std::int32_t* columns, double* to);

/// What the network is given of missing values: 0 in `values` where `marks` has NaN.
template <class T>
void clear_missing(Index n, const T* marks, T* values) {
  map(values, n, [](const Vec<T>& m, const Vec<T>& v) { return mask_and(is_known(m), v); }, marks, values);
}

/// What makes terms of missing values the least of all: -1 in `terms` where `marks` has NaN.
template <class T>
void mark_missing(Index n, const T* marks, T* terms) {
  const Vec<T> least(T(-1));
  map(terms, n, [&](const Vec<T>& m, const Vec<T>& v) { return select(is_known(m), v, least); }, marks, terms);
}

/// What a scaler needs of each column, over the finite values in `rows` of `input` (all `n_rows` of them).
struct ColumnStatistics {
  Buffer<double> mean, deviation, minimum, maximum;
  Buffer<std::int64_t> n_nonfinite;
};

ColumnStatistics column_statistics(const InputView& input, const RowList& rows, Index n_rows, int n_threads);

}  // namespace aefast
