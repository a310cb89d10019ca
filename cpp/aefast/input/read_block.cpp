#include "read_block.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "aefast/core/parallel.hpp"

namespace aefast {
namespace {

/// Calls f with a null pointer of the element's type.
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

/// The type in which an element is scaled: float where it holds every value of S and of the result.
template <class S, class T>
using Compute = std::conditional_t<sizeof(T) == 4 && (sizeof(S) <= 2 || std::is_same_v<S, float>), float, double>;

/// The map of a register's values: all of one feature, or each of another. NaN and infinities become NaN.
template <class C>
struct FeatureMap {
  Vec<C> high, inverse, offset, limit;

  Vec<C> operator()(const Vec<C>& x) const {
    return fma(x, Vec<C>(C(0)), clip(fma(x - high, inverse, offset), limit));  // x * 0 is 0 for every finite x
  }
};

/// Those of the features from `first` on.
template <class C>
struct ScalingMap {
  explicit ScalingMap(const Scaling& scaling, Index first = 0)
      : high(scaling.terms<C>().high.data() + first),
        inverse(scaling.terms<C>().inverse.data() + first),
        offset(scaling.terms<C>().offset.data() + first),
        limit(static_cast<C>(scaling.limit())) {}

  FeatureMap<C> operator()(Index j) const { return {high[j], inverse[j], offset[j], limit}; }
  /// Of as many features as `load` loads, from j on.
  template <class Load>
  FeatureMap<C> across(Index j, Load&& load) const {
    return {load(high + j), load(inverse + j), load(offset + j), limit};
  }

  const C *high, *inverse, *offset;
  C limit;
};

/// A register of T; `load(part)` gives its first and second part, if it has two, as registers of C.
template <class T, class C, class Load>
Vec<T> scaled(const FeatureMap<C>& first, const FeatureMap<C>& second, Load&& load) {
  if constexpr (std::is_same_v<C, T>) return first(load(0));
  else return narrow(first(load(0)), second(load(1)));
}

/// Rows at equal distances, and rows anywhere: where each begins.
template <class S>
struct EvenRows {
  const S* first;
  Index step;

  EvenRows from(Index i) const { return {first + i * step, step}; }
  const S* operator()(Index i) const { return first + i * step; }
};

template <class S>
struct ListedRows {
  const S* const* row;

  ListedRows from(Index i) const { return {row + i}; }
  const S* operator()(Index i) const { return row[i]; }
};

/// Columns from `at` on of a register's rows, scaled and then transposed: as many as `load` loads, the first `n` of
/// which are stored.
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

/// How many of a row's elements come before the first that is aligned as registers are; none if rows differ in that.
template <class C, class Rows>
Index lead_of(const Rows& row) {
  constexpr std::uintptr_t kStep = kLanes<C> * sizeof(C);
  const auto first = reinterpret_cast<std::uintptr_t>(row(0)), second = reinterpret_cast<std::uintptr_t>(row(1));
  const std::uintptr_t lead = (kStep - first % kStep) % kStep;
  return (second - first) % kStep == 0 && lead % sizeof(C) == 0 ? static_cast<Index>(lead / sizeof(C)) : 0;
}

/// `n` columns, at least as many as lanes, of `width` rows. Some are taken twice where squares would reach past the
/// last one, or where whole lines of the cache are then taken once.
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

/// The same of fewer columns, masked.
template <class T, class Rows>
[[gnu::noinline]] void store_masked(Rows row, Index n, const ScalingMap<T>& map, Index width, T* to) {
  const auto load = [n](const T* from) { return load_first(from, n); };
  const FeatureMap<T> all = map.across(0, load);
  for (Index lane = 0; lane < width; lane += kLanes<T>) {
    store_square(row.from(lane), 0, n, all, all, load, width, to + lane);
  }
}

/// The same of few columns, of at least a piece, sixteen bytes at a time: rows anywhere then cost no other lines of
/// memory than their own.
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

/// Whether rows of any length can be read where they are.
template <class C, class T, class Rows>
inline constexpr bool kMasks = std::is_same_v<C, T> && std::is_same_v<Rows, EvenRows<C>>;

template <class C, class T, class Rows>
void store_rows(Rows row, Index n, const ScalingMap<C>& map, Index width, T* to) {
  if (n >= kLanes<T>) store_wide(row, n, map, width, to);
  else if constexpr (kMasks<C, T, Rows>) store_masked(row, n, map, width, to);
  else store_narrow(row, n, map, width, to);
}

/// The first `bytes` from `from` on, as far as it pays. Inline, as all that do nothing but fetch: GCC leaves out calls
/// of functions without effect.
[[gnu::always_inline]] inline void prefetch(const std::byte* from, Index bytes) {
  constexpr Index kLine = 64, kMost = 64 * kLine;
  for (Index i = 0; i < std::min(bytes, kMost); i += kLine) __builtin_prefetch(from + i);
  __builtin_prefetch(from + std::min(bytes, kMost) - 1);  // in a line of its own unless the row begins with one
}

/// Has the rows after those of `block`, which begins with the input's row `first_row`, brought while it is worked on.
void fetch_next(const InputView& input, Index first_row, const Block& block, Index row_bytes) {
  const Index next = first_row + block.n_rows, n_rows = std::min(block.width, input.rows - next);
  if (block.prefetcher && input.row_stride == row_bytes)
    block.prefetcher->begin(input.data + next * row_bytes, n_rows * row_bytes);
}

/// The same of rows in any order, a register's at a time: those a little after the one that begins at `lane`.
template <class T>
[[gnu::always_inline]] inline void fetch_later(const InputView& input, const RowList& rows, const Block& block,
                                               Index lane, Index row_bytes) {
  constexpr Index kFetched = 8192;  // bytes of rows on their way
  const Index n_known = std::max(rows.n_known, block.first_row + block.n_rows);
  const Index first =
      block.first_row + lane + std::clamp(kFetched / std::max<Index>(1, row_bytes), kLanes<T>, kPanel<T>);
  for (Index i = first; i < first + kLanes<T>; ++i) {
    prefetch(input.data + rows[std::min(i, n_known - 1)] * input.row_stride, row_bytes);
  }
}

/// Rows whose features lie along memory: they are scaled, and transposed in registers.
template <class S, class T>
void read_rows(const InputView& input, const Scaling& scaling, const RowList& rows, const Block& block, T* to,
               Index first_feature) {
  using C = Compute<S, T>;
  constexpr Index kSize = sizeof(S), kStretch = std::max<Index>(64 / sizeof(C), kLanes<T>);
  const Index stride = input.column_stride / kSize, d = input.columns, row_bytes = std::abs(input.column_stride) * d;
  const bool is_direct = stride == 1 && d >= kQuad<C>;
  const auto begin_of = [&](Index i) {
    const Index at = rows[block.first_row + std::min(i, block.n_rows - 1)];
    return reinterpret_cast<const S*>(input.data + at * input.row_stride);
  };
  if (!rows.indices) fetch_next(input, rows[block.first_row], block, row_bytes);
  if constexpr (std::is_same_v<S, C>) {
    if (stride == 1 && (d >= kQuad<C> || kMasks<C, T, EvenRows<S>>) && !rows.indices && block.n_rows == block.width) {
      const EvenRows<S> even{begin_of(0), input.row_stride / kSize};
      return store_rows(even, d, ScalingMap<C>(scaling, first_feature), block.width, to);
    }
  }
  const S* row[kPanel<T>];
  for (Index lane = 0; lane < block.width; lane += kLanes<T>) {
    for (Index i = lane; i < lane + kLanes<T>; ++i) row[i] = begin_of(i);
    if (rows.indices) fetch_later<T>(input, rows, block, lane, row_bytes);
  }
  if constexpr (std::is_same_v<S, C>) {
    if (is_direct) return store_rows(ListedRows<S>{row}, d, ScalingMap<C>(scaling, first_feature), block.width, to);
  }
  alignas(kAlignment) C stretch[kPanel<T>][kStretch] = {};
  for (Index first = 0; first < d; first += kStretch) {
    const Index n = std::min(kStretch, d - first);
    for (Index i = 0; i < block.width; ++i) {
      for (Index j = 0; j < n; ++j) stretch[i][j] = static_cast<C>(row[i][(first + j) * stride]);
    }
    store_rows(EvenRows<C>{&stretch[0][0], kStretch}, n, ScalingMap<C>(scaling, first_feature + first), block.width,
               to + first * block.width);
  }
}

/// Rows that lie next to each other, feature by feature; the next ones are fetched, being too many streams of memory
/// for the processor to follow.
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

}  // namespace

Scaling::Scaling(Buffer<double> shift, Buffer<double> scale, double limit, Buffer<double> fill, bool masks_missing)
    : shift_(std::move(shift)),
      scale_(std::move(scale)),
      limit_(limit),
      fill_(std::move(fill)),
      masks_missing_(masks_missing) {
  const auto set = [this]<class C>(Terms<C>& terms) {
    constexpr double kMost = static_cast<double>(std::numeric_limits<C>::max()) / 4;  // 1 / scale may overflow
    for (Buffer<C>* buffer : {&terms.high, &terms.inverse, &terms.offset}) buffer->reset(size());
    for (Index j = 0; j < size(); ++j) {
      terms.high[j] = static_cast<C>(shift_[j]);
      terms.inverse[j] = static_cast<C>(std::min(1 / scale_[j], kMost));
      terms.offset[j] = static_cast<C>((static_cast<double>(terms.high[j]) - shift_[j]) / scale_[j]);
    }
  };
  set(single_);
  set(double_);
}

Scaling Scaling::none(Index n_features) {
  Buffer<double> scale(n_features);
  std::fill_n(scale.data(), n_features, 1.0);
  return {Buffer<double>(n_features), std::move(scale), static_cast<double>(std::numeric_limits<float>::max())};
}

template <class T>
void read_block(const InputView& input, const Scaling& scaling, const RowList& rows, const Block& block, T* to,
                Index first) {
  with_type(input.dtype, [&]<class S>(const S*) {
    const bool is_stretch = !rows.indices && input.row_stride == static_cast<Index>(sizeof(S)) && input.columns > 1;
    if (is_stretch || input.starts) read_columns<S>(input, scaling, rows[block.first_row], block, to, first);
    else read_rows<S>(input, scaling, rows, block, to, first);
  });
  if (!scaling.fills_missing()) return;
  for (Index j = 0; j < input.columns; ++j) {
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

namespace {

/// Moments of a stretch of rows about a common origin, one of the rows, so that large means cost no digits.
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
  // The stretches are fixed, and merged in order, so that the result does not depend on the number of threads.
  const Index d = input.columns;
  const Index stretch = std::max<Index>(4096, (n_rows + 63) / 64);
  const Index n_stretches = std::max<Index>(1, (n_rows + stretch - 1) / stretch);
  std::vector<Moments> parts;
  for (Index p = 0; p < n_stretches; ++p) parts.emplace_back(d);
  Buffer<double> origin(d);
  with_type(input.dtype, [&]<class S>(const S*) {
    for (Index j = 0; j < d; ++j) {
      for (Index i = 0; i < n_rows; ++i) {  // the first finite value, which is the first but where values are missing
        const std::byte* from = input.data + rows[i] * input.row_stride + j * input.column_stride;
        origin[j] = static_cast<double>(*reinterpret_cast<const S*>(from));
        if (std::isfinite(origin[j])) break;
        origin[j] = 0;
      }
    }
  });
  ThreadTeam team(n_rows * d < 200'000 ? 1 : n_threads);
  team.run(n_stretches, [&](Index p, int) {
    Moments& part = parts[static_cast<std::size_t>(p)];
    const Index first = p * stretch, last = std::min(n_rows, first + stretch);
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
    for (Index p = 0; p < n_stretches; ++p) {
      const Moments& part = parts[static_cast<std::size_t>(p)];
      const Index n_finite = std::min(n_rows, (p + 1) * stretch) - p * stretch - part.n_nonfinite[j];
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
    // Squares may overflow where the values do not: the middle and half of the range stand in.
    const bool is_finite = std::isfinite(mean) && std::isfinite(deviation);
    result.mean[j] = is_finite ? mean : low / 2 + high / 2;
    result.deviation[j] = is_finite ? deviation : high / 2 - low / 2;
    result.minimum[j] = low;
    result.maximum[j] = high;
  }
  return result;
}

}  // namespace aefast
