/// Counts of the values of columns above limits, for histograms whose bins are known.
#pragma once

#include "input_view.hpp"

namespace aefast {

/// For each column, the values above each of its limits and the missing (NaN) values. Both are sums over rows, so that
/// the counts of parts of a table add up to those of the table.
struct ColumnCounts {
  Buffer<std::int64_t> above;  // d x n_limits
  Buffer<std::int64_t> missing;
};

/// The counts of all rows; `limits` (d x n_limits) are finite or infinite.
ColumnCounts count_above(const InputView& input, Index n_limits, const double* limits, int n_threads);

}  // namespace aefast
