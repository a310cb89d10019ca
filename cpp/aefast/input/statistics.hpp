/// Statistics of the columns of an input, for scalers.
#pragma once

#include "input_view.hpp"

namespace aefast {

/// Statistics of each column over its finite values; `deviation` is that of the population.
struct ColumnStatistics {
  Buffer<double> mean, deviation, minimum, maximum;
  Buffer<std::int64_t> n_nonfinite;
};

/// The statistics of the `n_rows` rows in `rows`.
ColumnStatistics column_statistics(const InputView& input, const RowList& rows, Index n_rows, int n_threads);

}  // namespace aefast
