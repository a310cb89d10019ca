#include "read_block.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>

namespace aefast {
namespace {

/// The type in which elements are scaled: float if it holds every value of S and the result is float.
template <class S, class T>
using Compute = std::conditional_t<sizeof(T) == 4 && (sizeof(S) <= 2 || std::is_same_v<S, float>), float, double>;

/// Scales a register, whose values may be of one feature or of several. NaN and infinities become NaN.
template <class C>
struct FeatureMap {
  Vec<C> high, inverse, offset, limit;

  Vec<C> operator()(const Vec<C>& x) const {
    return fma(x, Vec<C>(C(0)), clip(fma(x - high, inverse, offset), limit));  // x * 0 is 0 for every finite x
  }
};

/// The maps of all features from `first` on.
template <class C>
struct ScalingMap {
  explicit ScalingMap(const Scaling& scaling, Index first = 0)
      : high(scaling.terms<C>().high.data() + first),
        inverse(scaling.terms<C>().inverse.data() + first),
        offset(scaling.terms<C>().offset.data() + first),
        limit(static_cast<C>(scaling.limit())) {}

  FeatureMap<C> operator()(Index j) const { return {high[j], inverse[j], offset[j], limit}; }
  /// The map of a register with several features, from j on, as many as `load` loads.
  template <class Load>
  FeatureMap<C> across(Index j, Load&& load) const {
    return {load(high + j), load(inverse + j), load(offset + j), limit};
  }

  const C *high, *inverse, *offset;
  C limit;
};

/// Scales a register of T. `load(part)` gives it as one register of C, or its halves as two.
template <class T, class C, class Load>
Vec<T> scaled(const FeatureMap<C>& first, const FeatureMap<C>& second, Load&& load) {
  if constexpr (std::is_same_v<C, T>) return first(load(0));
  else return narrow(first(load(0)), second(load(1)));
}

/// The first elements of rows at equal distances.
template <class S>
struct EvenRows {
  const S* first;
  Index step;

  EvenRows from(Index i) const { return {first + i * step, step}; }
  const S* operator()(Index i) const { return first + i * step; }
};

/// The first elements of rows at any addresses.
template <class S>
struct ListedRows {
  const S* const* row;

  ListedRows from(Index i) const { return {row + i}; }
  const S* operator()(Index i) const { return row[i]; }
};

/// Scales and transposes the columns from `at` on of as many rows as a register has lanes. `load` loads that many
/// columns of a row; the first `n` are stored.
template <class T, class C, class Rows, class Load>
[[gnu::always_inline]] inline void store_square(const Rows& row, Index at, Index n, const FeatureMap<C>& first,
                                                const FeatureMap<C>& second, const Load& load, Index width, T* to) {
  constexpr Index kSide = kLanes<T>, kSoon = 2 * kSide;
  Vec<T> square[kSide];
  AEFAST_UNROLL
  for (Index i = 0; i < kSide; ++i) {
    const C* from = row(i) + at;
    square[i] = scaled<T>(first, second, [&](Index part) { return load(from + part * kLanes<C>); });
    __builtin_prefetch(from + kSoon);
  }
  transpose(square);
  AEFAST_UNROLL
  for (Index j = 0; j < kSide; ++j) {
    if (j < n) square[j].store(to + (at + j) * width);
  }
}

/// The number of elements of a row before the first that is aligned to a register; 0 if rows differ in it.
template <class C, class Rows>
Index lead_of(const Rows& row) {
  constexpr std::uintptr_t kStep = kLanes<C> * sizeof(C);
  const auto first = reinterpret_cast<std::uintptr_t>(row(0)), second = reinterpret_cast<std::uintptr_t>(row(1));
  const std::uintptr_t lead = (kStep - first % kStep) % kStep;
  return (second - first) % kStep == 0 && lead % sizeof(C) == 0 ? static_cast<Index>(lead / sizeof(C)) : 0;
}

/// Stores `n` columns, at least as many as lanes, of `width` rows. The last square overlaps the one before it if it
/// would reach past the last column. The first does so if the others then begin at cache lines.
template <class C, class T, class Rows>
[[gnu::noinline]] void store_wide(Rows row, Index n, const ScalingMap<C>& map, Index width, T* to) {
  constexpr Index kSide = kLanes<T>, kMany = 8 * kSide;
  const auto load = [](const C* from) { return Vec<C>::load_unaligned(from); };
  const Index lead = n >= kMany ? lead_of<C>(row) : 0;
  for (Index lane = 0; lane < width; lane += kSide) {
    for (Index at = 0, next = lead > 0 ? lead : kSide; at < n; at = next, next += kSide) {
      const Index begin = std::min(at, n - kSide);
      const FeatureMap<C> first = map.across(begin, load), second = map.across(begin + kSide - kLanes<C>, load);
      store_square(row.from(lane), begin, kSide, first, second, load, width, to + lane);
    }
  }
}

/// Stores fewer columns than lanes, with masked loads.
template <class T, class Rows>
[[gnu::noinline]] void store_masked(Rows row, Index n, const ScalingMap<T>& map, Index width, T* to) {
  const auto load = [n](const T* from) { return load_first(from, n); };
  const FeatureMap<T> all = map.across(0, load);
  for (Index lane = 0; lane < width; lane += kLanes<T>) {
    store_square(row.from(lane), 0, n, all, all, load, width, to + lane);
  }
}

/// Stores fewer columns than lanes, at least kPiece, with loads of sixteen bytes: these touch no other cache lines than
/// the row's own.
template <class C, class T, class Rows>
[[gnu::noinline]] void store_narrow(Rows row, Index n, const ScalingMap<C>& map, Index width, T* to) {
  constexpr Index kParts = kLanes<T> / kLanes<C>;
  for (Index begin = 0; begin < n; begin += kQuad<C>) {
    const Index at = std::max<Index>(0, std::min(begin, n - kQuad<C>));
    FeatureMap<C> maps[kQuad<C>];
    AEFAST_UNROLL
    for (Index j = 0; j < kQuad<C>; ++j) maps[j] = map(std::min(at + j, n - 1));
    for (Index lane = 0; lane < width; lane += kLanes<T>) {
      Vec<C> columns[kParts][kQuad<C>];
      AEFAST_UNROLL
      for (Index part = 0; part < kParts; ++part) load_columns(row.from(lane + part * kLanes<C>), at, columns[part]);
      AEFAST_UNROLL
      for (Index j = 0; j < kQuad<C>; ++j) {
        if (at + j >= n) break;
        const auto part = [&](Index i) { return columns[i][j]; };
        scaled<T>(maps[j], maps[j], part).store(to + (at + j) * width + lane);
      }
    }
  }
}

/// True if rows of any length are read in place.
template <class C, class T, class Rows>
inline constexpr bool kMasks = std::is_same_v<C, T> && std::is_same_v<Rows, EvenRows<C>>;

template <class C, class T, class Rows>
void store_rows(Rows row, Index n, const ScalingMap<C>& map, Index width, T* to) {
  if (n >= kLanes<T>) store_wide(row, n, map, width, to);
  else if constexpr (kMasks<C, T, Rows>) store_masked(row, n, map, width, to);
  else store_narrow(row, n, map, width, to);
}

/// Prefetches `bytes` bytes, up to kMost. It must be inlined: GCC drops calls of functions without other effects.
[[gnu::always_inline]] inline void prefetch(const std::byte* from, Index bytes) {
  constexpr Index kLine = 64, kMost = 64 * kLine;
  for (Index i = 0; i < std::min(bytes, kMost); i += kLine) __builtin_prefetch(from + i);
  __builtin_prefetch(from + std::min(bytes, kMost) - 1);  // may lie in one more line
}

/// Lets the block's prefetcher bring the rows after the block, which begins at row `first_row` of the input.
void prefetch_next(const InputView& input, Index first_row, const Block& block, Index row_bytes) {
  const Index next = first_row + block.n_rows, n_rows = std::min(block.width, input.rows - next);
  if (block.prefetcher && input.row_stride == row_bytes)
    block.prefetcher->begin(input.data + next * row_bytes, n_rows * row_bytes);
}

/// Prefetches listed rows a little after the one at `lane`, as many as a register has lanes.
template <class T>
[[gnu::always_inline]] inline void prefetch_listed(const InputView& input, const RowList& rows, const Block& block,
                                                   Index lane, Index row_bytes) {
  constexpr Index kInFlight = 8192;  // bytes that are being fetched
  const Index n_known = std::max(rows.n_known, block.first_row + block.n_rows);
  const Index first =
      block.first_row + lane + std::clamp(kInFlight / std::max<Index>(1, row_bytes), kLanes<T>, kPanel<T>);
  for (Index i = first; i < first + kLanes<T>; ++i) {
    prefetch(input.data + rows[std::min(i, n_known - 1)] * input.row_stride, row_bytes);
  }
}

/// Reads rows whose features are adjacent in memory: scales them and transposes them in registers.
template <class S, class T>
void read_rows(const InputView& input, const Scaling& scaling, const RowList& rows, const Block& block, T* to,
               Index first_feature) {
  using C = Compute<S, T>;
  constexpr Index kSize = sizeof(S), kColumns = std::max<Index>(64 / sizeof(C), kLanes<T>);
  const Index stride = input.column_stride / kSize, d = input.columns, row_bytes = std::abs(input.column_stride) * d;
  const bool is_direct = stride == 1 && d >= kQuad<C>;
  const auto begin_of = [&](Index i) {
    const Index at = rows[block.first_row + std::min(i, block.n_rows - 1)];
    return reinterpret_cast<const S*>(input.data + at * input.row_stride);
  };
  if (!rows.indices) prefetch_next(input, rows[block.first_row], block, row_bytes);
  if constexpr (std::is_same_v<S, C>) {
    if (stride == 1 && (d >= kQuad<C> || kMasks<C, T, EvenRows<S>>) && !rows.indices && block.n_rows == block.width) {
      const EvenRows<S> even{begin_of(0), input.row_stride / kSize};
      return store_rows(even, d, ScalingMap<C>(scaling, first_feature), block.width, to);
    }
  }
  const S* row[kPanel<T>];
  for (Index lane = 0; lane < block.width; lane += kLanes<T>) {
    for (Index i = lane; i < lane + kLanes<T>; ++i) row[i] = begin_of(i);
    if (rows.indices) prefetch_listed<T>(input, rows, block, lane, row_bytes);
  }
  if constexpr (std::is_same_v<S, C>) {
    if (is_direct) return store_rows(ListedRows<S>{row}, d, ScalingMap<C>(scaling, first_feature), block.width, to);
  }
  alignas(kAlignment) C converted[kPanel<T>][kColumns] = {};
  for (Index first = 0; first < d; first += kColumns) {
    const Index n = std::min(kColumns, d - first);
    for (Index i = 0; i < block.width; ++i) {
      for (Index j = 0; j < n; ++j) converted[i][j] = static_cast<C>(row[i][(first + j) * stride]);
    }
    store_rows(EvenRows<C>{&converted[0][0], kColumns}, n, ScalingMap<C>(scaling, first_feature + first), block.width,
               to + first * block.width);
  }
}

/// Reads rows that are adjacent in memory, feature by feature. It prefetches the next ones, because processors do not
/// recognise so many streams.
template <class S, class T>
void read_columns(const InputView& input, const Scaling& scaling, Index first_row, const Block& block, T* to,
                  Index first_feature) {
  using C = Compute<S, T>;
  constexpr Index kSize = sizeof(S);
  const ScalingMap<C> map(scaling, first_feature);
  const Index n_next = std::min(block.n_rows, input.rows - first_row - block.n_rows);
  alignas(kAlignment) C values[kPanel<T>];
  for (Index feature = 0; feature < input.columns; ++feature) {
    const std::byte* column = input.column(feature) + first_row * kSize;
    const S* from = reinterpret_cast<const S*>(column);
    prefetch(column + block.n_rows * kSize, n_next * kSize);
    for (Index i = 0; i < block.n_rows; ++i) values[i] = static_cast<C>(from[i]);
    for (Index i = block.n_rows; i < block.width; ++i) values[i] = values[block.n_rows - 1];
    for (Index i = 0; i < block.width; i += kLanes<T>) {
      const auto part = [&](Index k) { return Vec<C>::load(values + i + k * kLanes<C>); };
      scaled<T>(map(feature), map(feature), part).store(to + feature * block.width + i);
    }
  }
}

/// Moves the features of a block, which holds one for each input column, to their places, and makes of the number of a
/// level, a multiple of kLevelUnit, one feature for each level. From the last column to the first, no feature is
/// overwritten before it is moved.
template <class T>
void expand_levels(const Scaling& scaling, Index width, T* to) {
  constexpr Index kMost = kPanel<T>;
  T codes[kMost];
  Index feature = scaling.size();
  for (Index j = scaling.n_inputs() - 1; j >= 0; --j) {
    const Index n = scaling.n_levels()[static_cast<std::size_t>(j)];
    const T* from = to + j * width;
    feature -= std::max<Index>(n, 1);
    T* features = to + feature * width;
    if (n == 0) {
      if (features != from) std::copy_n(from, width, features);
      continue;
    }
    std::copy_n(from, width, codes);
    for (Index i = 0; i < width; ++i) features[i] = codes[i] * T(0);  // NaN stays NaN
    for (Index k = 1; k < n; ++k) std::copy_n(features, width, features + k * width);
    for (Index i = 0; i < width; ++i) {
      if (std::isnan(codes[i])) continue;
      const auto code = static_cast<Index>(codes[i] * static_cast<T>(1 / kLevelUnit));
      features[std::clamp<Index>(code, 0, n - 1) * width + i] = T(1);
    }
  }
}

}  // namespace

template <class T>
void read_block(const InputView& input, const Scaling& scaling, const RowList& rows, const Block& block, T* to,
                Index first) {
  with_type(input.dtype, [&]<class S>(const S*) {
    const bool is_by_column = !rows.indices && input.row_stride == static_cast<Index>(sizeof(S)) && input.columns > 1;
    if (is_by_column || input.starts) read_columns<S>(input, scaling, rows[block.first_row], block, to, first);
    else read_rows<S>(input, scaling, rows, block, to, first);
  });
  if (scaling.has_levels()) expand_levels(scaling, block.width, to);
  if (!scaling.fills_missing()) return;
  for (Index j = 0; j < (scaling.has_levels() ? scaling.size() : input.columns); ++j) {
    T* values = to + j * block.width;
    const Vec<T> fill(static_cast<T>(scaling.fill(first + j)));
    map(values, block.width, [&](const Vec<T>& v) { return select(is_known(v), v, fill); }, values);
  }
}

template void read_block(const InputView&, const Scaling&, const RowList&, const Block&, float*, Index);
template void read_block(const InputView&, const Scaling&, const RowList&, const Block&, double*, Index);

void read_elements(const InputView& input, const Block& block, Index n, const std::int32_t* columns, double* to) {
  with_type(input.dtype, [&]<class S>(const S*) {
    for (Index i = 0; i < block.n_rows; ++i) {
      const Index at = (block.first_row + i) * input.row_stride;
      for (Index k = i * n; k < (i + 1) * n; ++k) {
        to[k] = static_cast<double>(*reinterpret_cast<const S*>(input.column(columns[k]) + at));
      }
    }
  });
}

}  // namespace aefast
