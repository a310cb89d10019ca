#include "input.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "parallel.hpp"

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

/// A register of elements into the space the network sees. NaN and infinities become NaN.
template <class C>
Vec<C> scaled(const Vec<C>& x, const Vec<C>& high, const Vec<C>& inverse, const Vec<C>& offset, const Vec<C>& limit) {
  const Vec<C> z = fma(x - high, inverse, offset);
  return fma(x, Vec<C>(C(0)), max(min(z, limit), -limit));  // x * 0 is 0 for every finite x
}

/// As many features as T has lanes, from `feature` on; `load(j)` gives register j of the elements as C.
template <class C, class T, class Load>
Vec<T> scaled_features(const Scaling& scaling, Index feature, Load&& load) {
  const auto& terms = scaling.terms<C>();
  const auto part = [&](Index j) {
    const Index at = feature + j * kLanes<C>;
    return scaled(load(j), Vec<C>::load(terms.high.data() + at), Vec<C>::load(terms.inverse.data() + at),
                  Vec<C>::load(terms.offset.data() + at), Vec<C>(static_cast<C>(scaling.limit())));
  };
  if constexpr (std::is_same_v<C, T>) return part(0);
  else return narrow(part(0), part(1));
}

/// `n` features next to each other, from `feature` on. Fills the last register with zeros.
template <class C, class T>
void scale_stretch(const C* from, Index n, const Scaling& scaling, Index feature, T* to) {
  const auto load = [&](Index at) {
    if (at + kLanes<C> <= n) return Vec<C>::load_unaligned(from + at);
    return at < n ? load_first(from + at, n - at) : Vec<C>(C(0));
  };
  for (Index j = 0; j < n; j += kLanes<T>) {
    scaled_features<C, T>(scaling, feature + j, [&](Index part) { return load(j + part * kLanes<C>); }).store(to + j);
  }
}

/// The same for elements of S, `stride` of them apart.
template <class S, class T>
void read_stretch(const S* from, Index stride, Index n, const Scaling& scaling, Index feature, T* to) {
  using C = Compute<S, T>;
  if constexpr (std::is_same_v<S, C>) {
    if (stride == 1) return scale_stretch(from, n, scaling, feature, to);
  }
  C gathered[kPanel<T>];
  for (Index j = 0; j < n; ++j) gathered[j] = static_cast<C>(from[j * stride]);
  scale_stretch(gathered, n, scaling, feature, to);
}

/// `n` rows of one feature, next to each other.
template <class S, class T>
void read_column(const S* from, Index n, const Scaling& scaling, Index feature, T* to) {
  using C = Compute<S, T>;
  const auto& terms = scaling.terms<C>();
  const Vec<C> high(terms.high[feature]), inverse(terms.inverse[feature]), offset(terms.offset[feature]);
  const Vec<C> limit(static_cast<C>(scaling.limit()));
  alignas(kAlignment) C values[kPanel<T>] = {};
  for (Index i = 0; i < n; ++i) values[i] = static_cast<C>(from[i]);
  const auto part = [&](Index i) { return scaled(Vec<C>::load(values + i), high, inverse, offset, limit); };
  for (Index i = 0; i < n; i += kLanes<T>) {
    if constexpr (std::is_same_v<C, T>) part(i).store(to + i);
    else narrow(part(i), part(i + kLanes<C>)).store(to + i);
  }
}

template <class S, class T>
void read_row(const std::byte* row, const InputView& input, const Scaling& scaling, Strips<T>& strips, Index at) {
  const Index stride = input.column_stride / static_cast<Index>(sizeof(S));
  for (Index strip = 0; strip < strips.count(); ++strip) {
    const Index feature = strip * kPanel<T>;
    const Index n = std::min(kPanel<T>, input.columns - feature);
    T* to = strips.at(strip, at);
    const S* from = reinterpret_cast<const S*>(row + feature * input.column_stride);
    read_stretch<S, T>(from, stride, n, scaling, feature, to);
  }
}

void prefetch_row(const InputView& input, Index row) {
  constexpr Index kLine = 64, kMostLines = 64;
  const std::byte* from = input.data + row * input.row_stride;
  const Index bytes = std::min(std::abs(input.column_stride) * input.columns, kLine * kMostLines);
  for (Index i = 0; i < bytes; i += kLine) __builtin_prefetch(from + i);
}

}  // namespace

Scaling::Scaling(Buffer<double> shift, Buffer<double> scale, double limit)
    : shift_(std::move(shift)), scale_(std::move(scale)), limit_(limit) {
  const auto fill = [this]<class C>(Terms<C>& terms) {
    constexpr double kMost = static_cast<double>(std::numeric_limits<C>::max()) / 4;  // 1 / scale may overflow
    // Whole registers are read, up to the last of a row of floats, so the ends are padded with zeros.
    const Index padded = round_up(size(), kLanes<float>);
    for (Buffer<C>* buffer : {&terms.high, &terms.inverse, &terms.offset}) buffer->reset(padded);
    for (Index j = 0; j < size(); ++j) {
      terms.high[j] = static_cast<C>(shift_[j]);
      terms.inverse[j] = static_cast<C>(std::min(1 / scale_[j], kMost));
      terms.offset[j] = static_cast<C>((static_cast<double>(terms.high[j]) - shift_[j]) / scale_[j]);
    }
  };
  fill(single_);
  fill(double_);
}

Scaling Scaling::none(Index n_features) {
  Buffer<double> scale(n_features);
  std::fill_n(scale.data(), n_features, 1.0);
  return {Buffer<double>(n_features), std::move(scale), static_cast<double>(std::numeric_limits<float>::max())};
}

template <class T>
void read_rows(const InputView& input, const Scaling& scaling, const RowList& rows, Index first, Index count,
               Strips<T>& strips, Index first_row) {
  constexpr Index kAhead = 4;
  with_type(input.dtype, [&]<class S>(const S*) {
    for (Index i = 0; i < count; ++i) {
      if (rows.indices && i + kAhead < count) prefetch_row(input, rows[first + i + kAhead]);
      read_row<S, T>(input.data + rows[first + i] * input.row_stride, input, scaling, strips, first_row + i);
    }
  });
}

template <class T>
void read_block(const InputView& input, const Scaling& scaling, const RowList& rows, Index first, const Block& block,
                Strips<T>& scratch, T* to) {
  const bool by_columns = !rows.indices && with_type(input.dtype, [&]<class S>(const S*) {
    return input.row_stride == static_cast<Index>(sizeof(S)) && input.column_stride != input.row_stride;
  });
  if (!by_columns) {
    read_rows(input, scaling, rows, first, block.n_rows, scratch, 0);
    return scratch.to_block(block, 0, to);
  }
  with_type(input.dtype, [&]<class S>(const S*) {
    for (Index feature = 0; feature < input.columns; ++feature) {
      const std::byte* column = input.data + feature * input.column_stride + rows[first] * input.row_stride;
      read_column<S, T>(reinterpret_cast<const S*>(column), block.n_rows, scaling, feature, to + feature * block.width);
    }
  });
}

template void read_rows(const InputView&, const Scaling&, const RowList&, Index, Index, Strips<float>&, Index);
template void read_rows(const InputView&, const Scaling&, const RowList&, Index, Index, Strips<double>&, Index);
template void read_block(const InputView&, const Scaling&, const RowList&, Index, const Block&, Strips<float>&, float*);
template void read_block(const InputView&, const Scaling&, const RowList&, Index, const Block&, Strips<double>&,
                         double*);

void copy_as_double(const InputView& input, double* to) {
  with_type(input.dtype, [&]<class S>(const S*) {
    for (Index i = 0; i < input.rows; ++i) {
      for (Index j = 0; j < input.columns; ++j) {
        const std::byte* from = input.data + i * input.row_stride + j * input.column_stride;
        to[i * input.columns + j] = static_cast<double>(*reinterpret_cast<const S*>(from));
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
      const std::byte* from = input.data + rows[0] * input.row_stride + j * input.column_stride;
      const double x = static_cast<double>(*reinterpret_cast<const S*>(from));
      origin[j] = std::isfinite(x) ? x : 0.0;
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
      const double count = static_cast<double>(std::min(n_rows, (p + 1) * stretch) - p * stretch);
      const double part_mean = part.sum[j] / count;
      const double part_squares = std::max(0.0, part.squares[j] - part.sum[j] * part.sum[j] / count);
      const double delta = part_mean - mean;  // Chan et al. 1979, eq. 1.5
      squares += part_squares + delta * delta * n * count / (n + count);
      n += count;
      mean += delta * count / n;
      low = std::min(low, part.minimum[j]);
      high = std::max(high, part.maximum[j]);
      result.n_nonfinite[j] += part.n_nonfinite[j];
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
