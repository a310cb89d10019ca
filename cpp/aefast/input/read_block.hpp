/// Reads rows of a user's array where it lies into blocks, scaled in the same pass.
#pragma once

#include "input_view.hpp"
#include "scaling.hpp"

namespace aefast {

/// Reads and scales `rows[block.first_row]` and the rows after it into a block. Lanes past the last row repeat it. The
/// first column of the input is feature `first` of the scaling. Columns of levels become one feature for each level;
/// `first` must then be 0.
template <class T>
void read_block(const InputView& input, const Scaling& scaling, const RowList& rows, const Block& block, T* to,
                Index first = 0);

/// Reads n elements of each row of a block; `columns` (n_rows x n) has their columns. The block's rows are those of the
/// input from block.first_row on.
void read_elements(const InputView& input, const Block& block, Index n, const std::int32_t* columns, double* to);

/// Sets `values` to 0 where `marks` has NaN: what the network reads for missing values.
template <class T>
void clear_missing(Index n, const T* marks, T* values) {
  map(values, n, [](const Vec<T>& m, const Vec<T>& v) { return mask_and(is_known(m), v); }, marks, values);
}

/// Sets `terms` to -1 where `marks` has NaN, so that missing values rank last.
template <class T>
void mark_missing(Index n, const T* marks, T* terms) {
  const Vec<T> least(T(-1));
  map(terms, n, [&](const Vec<T>& m, const Vec<T>& v) { return select(is_known(m), v, least); }, marks, terms);
}

}  // namespace aefast
