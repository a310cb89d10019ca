#include "statistics.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "aefast/core/parallel.hpp"

namespace aefast {
namespace {

/// Moments of some rows about a common origin, which is one of the rows so that large means cost no digits.
struct Moments {
  Buffer<double> origin, sum, squares, minimum, maximum;
  Buffer<std::int64_t> n_nonfinite;

  explicit Moments(Index d) : origin(d), sum(d), squares(d), minimum(d), maximum(d), n_nonfinite(d) {
    std::fill_n(minimum.data(), d, std::numeric_limits<double>::infinity());
    std::fill_n(maximum.data(), d, -std::numeric_limits<double>::infinity());
  }

  template <class S>
  void add(const S* row, Index stride, Index d) {
    for (Index j = 0; j < d; ++j) {
      const double x = static_cast<double>(row[j * stride]);
      const bool finite = std::abs(x) <= std::numeric_limits<double>::max();
      const double value = finite ? x : origin[j];
      const double delta = value - origin[j];
      sum[j] += delta;
      squares[j] += delta * delta;
      minimum[j] = std::min(minimum[j], value);
      maximum[j] = std::max(maximum[j], value);
      n_nonfinite[j] += !finite;
    }
  }
};

}  // namespace

ColumnStatistics column_statistics(const InputView& input, const RowList& rows, Index n_rows, int n_threads) {
  // Chunks are fixed and merged in order, so that the result does not depend on the number of threads.
  const Index d = input.columns;
  const Index chunk = std::max<Index>(4096, (n_rows + 63) / 64);
  const Index n_chunks = std::max<Index>(1, (n_rows + chunk - 1) / chunk);
  std::vector<Moments> parts;
  for (Index p = 0; p < n_chunks; ++p) parts.emplace_back(d);
  Buffer<double> origin(d);
  with_type(input.dtype, [&]<class S>(const S*) {
    for (Index j = 0; j < d; ++j) {
      for (Index i = 0; i < n_rows; ++i) {  // the first finite value
        const std::byte* from = input.data + rows[i] * input.row_stride + j * input.column_stride;
        origin[j] = static_cast<double>(*reinterpret_cast<const S*>(from));
        if (std::isfinite(origin[j])) break;
        origin[j] = 0;
      }
    }
  });
  ThreadTeam team(n_rows * d < 200'000 ? 1 : n_threads);
  team.run(n_chunks, [&](Index p, int) {
    Moments& part = parts[static_cast<std::size_t>(p)];
    const Index first = p * chunk, last = std::min(n_rows, first + chunk);
    if (first >= last) return;
    with_type(input.dtype, [&]<class S>(const S*) {
      const auto at = [&](Index i) { return reinterpret_cast<const S*>(input.data + rows[i] * input.row_stride); };
      const Index stride = input.column_stride / static_cast<Index>(sizeof(S));
      std::copy_n(origin.data(), d, part.origin.data());
      for (Index i = first; i < last; ++i) part.add(at(i), stride, d);
    });
  });

  ColumnStatistics result{Buffer<double>(d), Buffer<double>(d), Buffer<double>(d), Buffer<double>(d),
                          Buffer<std::int64_t>(d)};
  for (Index j = 0; j < d; ++j) {
    // `mean` is relative to the origin until the end.
    double mean = 0, squares = 0, low = parts[0].minimum[j], high = parts[0].maximum[j], n = 0;
    for (Index p = 0; p < n_chunks; ++p) {
      const Moments& part = parts[static_cast<std::size_t>(p)];
      const Index n_finite = std::min(n_rows, (p + 1) * chunk) - p * chunk - part.n_nonfinite[j];
      result.n_nonfinite[j] += part.n_nonfinite[j];
      if (n_finite == 0) continue;
      const double count = static_cast<double>(n_finite);
      const double part_mean = part.sum[j] / count;
      const double part_squares = std::max(0.0, part.squares[j] - part.sum[j] * part.sum[j] / count);
      const double delta = part_mean - mean;  // Chan et al. 1979, eq. 1.5
      squares += part_squares + delta * delta * n * count / (n + count);
      n += count;
      mean += delta * count / n;
      low = std::min(low, part.minimum[j]);
      high = std::max(high, part.maximum[j]);
    }
    mean += origin[j];
    const double deviation = low == high ? 0.0 : std::sqrt(squares / n);
    // The squares of finite values may overflow; the middle and half of the range replace the results then.
    const bool is_finite = std::isfinite(mean) && std::isfinite(deviation);
    result.mean[j] = is_finite ? mean : low / 2 + high / 2;
    result.deviation[j] = is_finite ? deviation : high / 2 - low / 2;
    result.minimum[j] = low;
    result.maximum[j] = high;
  }
  return result;
}

}  // namespace aefast
