#include "counts.hpp"

#include <type_traits>
#include <vector>

#include "aefast/core/parallel.hpp"

namespace aefast {
namespace {

constexpr Index kBlock = 2048;  // values of a column that are compared with all limits while they are in cache

/// Types that float holds exactly are compared as float.
template <class S>
using Compared = std::conditional_t<(sizeof(S) < 4 || std::is_same_v<S, float>), float, double>;

template <class C>
void count_block(const C* values, Index n, Index n_limits, const double* limits, std::int64_t* above,
                 std::int64_t* missing) {
  for (Index k = 0; k < n_limits; ++k) {
    const C limit = static_cast<C>(limits[k]);
    std::int32_t count = 0;
    for (Index i = 0; i < n; ++i) count += values[i] > limit;
    above[k] += count;
  }
  std::int32_t count = 0;
  for (Index i = 0; i < n; ++i) count += values[i] != values[i];
  *missing += count;
}

}  // namespace

ColumnCounts count_above(const InputView& input, Index n_limits, const double* limits, int n_threads) {
  const Index d = input.columns, n = input.rows;
  ColumnCounts counts{Buffer<std::int64_t>(d * n_limits), Buffer<std::int64_t>(d)};
  ThreadTeam team(n * d < 200'000 ? 1 : n_threads);
  const Index n_tasks = std::min<Index>(d, 64);
  team.run(n_tasks, [&](Index task, int) {
    with_type(input.dtype, [&]<class S>(const S*) {
      using C = Compared<S>;
      Buffer<C> values(std::min(n, kBlock));
      const Index first = d * task / n_tasks, last = d * (task + 1) / n_tasks;
      for (Index begin = 0; begin < n; begin += kBlock) {
        const Index rows = std::min(n, begin + kBlock) - begin;
        for (Index j = first; j < last; ++j) {
          const std::byte* from = input.column(j) + begin * input.row_stride;
          for (Index i = 0; i < rows; ++i) {
            values[i] = static_cast<C>(*reinterpret_cast<const S*>(from + i * input.row_stride));
          }
          count_block(values.data(), rows, n_limits, limits + j * n_limits, counts.above.data() + j * n_limits,
                      counts.missing.data() + j);
        }
      }
    });
  });
  return counts;
}

}  // namespace aefast
