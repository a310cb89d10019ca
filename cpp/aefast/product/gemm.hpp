/// The one matrix product of the engine: C = bias + sum over segments of A B.
///
/// B and C are row-major *panels*: a few vectors wide, so that a row of one is one to four registers. A is read one
/// element at a time and broadcast, with any strides, so it is never packed or transposed. Everything is this product:
///
///   forward              out (n_out x rows)   = W      (n_out x n_in)  in (n_in x rows)
///   backward to inputs   din (n_in x rows)    = W^T    (n_in x n_out)  dout (n_out x rows)
///   gradient             dW (n_out x n_in)    = dout   (n_out x rows)  in^T (rows x n_in)
///
/// Activations are kept feature by feature with rows in the lanes, hence narrow layers waste no lane, no sum runs
/// across lanes, and a row's result does not depend on the rows beside it. Every element of C is summed in the order of
/// the depth by fused multiply-adds, whatever the tile.
#pragma once

#include <array>
#include <span>
#include <utility>
#include <vector>

#include "aefast/simd/simd.hpp"

namespace aefast {

/// Brings what is needed next from memory while products are computed: a few lines at each of their segments, as many
/// at once would hold up the loads. The segments of one block tell how to spread the next.
class Prefetcher {
 public:
  void begin(const std::byte* from, Index bytes) {
    at_ = from;
    end_ = from + bytes;
    step_ = n_steps_ > 0 ? round_up(bytes / n_steps_ + 1, kLine) : 0;
    n_steps_ = 0;
  }
  void step() {
    ++n_steps_;
    for (const std::byte* last = std::min(end_, at_ + step_); at_ < last; at_ += kLine) {
      __builtin_prefetch(at_, 0, kSecondLevel);
    }
  }

 private:
  static constexpr Index kLine = 64;
  static constexpr int kSecondLevel = 2;
  const std::byte *at_ = nullptr, *end_ = nullptr;
  Index step_ = 0, n_steps_ = 0;
};

/// A stretch of the depth: `depth` steps from `a` and `b` on, the elements of A `a_row` and `a_depth` apart.
template <class T>
struct Segment {
  Segment() {}  // a list has room for many, which need no values before they are added
  Segment(const T* a_, const T* b_, Index depth_, Index a_row_, Index a_depth_, bool is_far_ = false,
          Prefetcher* ahead_ = nullptr)
      : a(a_), b(b_), depth(depth_), a_row(a_row_), a_depth(a_depth_), is_far(is_far_), ahead(ahead_) {}

  const T* a;
  const T* b;
  Index depth;
  Index a_row;
  Index a_depth;
  bool is_far;        // A is in no near cache: what is needed of it next is fetched ahead
  Prefetcher* ahead;  // what else is fetched meanwhile
};

/// A list of segments that needs no allocation while it is short.
template <class T>
class SegmentList {
 public:
  explicit SegmentList(Index capacity) {
    if (capacity > kInline) more_.resize(static_cast<std::size_t>(capacity));
    data_ = capacity > kInline ? more_.data() : inline_;
  }
  void add(const Segment<T>& segment) { data_[size_++] = segment; }
  void clear() { size_ = 0; }
  std::span<Segment<T>> all() { return {data_, size_}; }

 private:
  static constexpr Index kInline = 64;
  Segment<T> inline_[kInline];
  std::vector<Segment<T>> more_;
  Segment<T>* data_;
  std::size_t size_ = 0;
};

namespace detail {

template <class T>
inline constexpr Index kLine = 64 / static_cast<Index>(sizeof(T));

/// Rows of the register tile for a panel of `vectors`: enough accumulators to hide the latency of a multiply-add, and
/// few enough to stay in registers.
constexpr int tile_rows(int vectors) { return Level::kTileRows[vectors - 1]; }

/// `kRows` rows of C, all of them in registers while the depth goes by, and taken from there by `end`.
template <class T, class End, int kRows, int kVectors>
void tile(std::span<const Segment<T>> segments, const T* bias, bool accumulate, T* c, const End& end) {
  static_assert(kRows * kVectors + kVectors + 1 <= kRegisters, "the tile would spill");
  constexpr Index kWidth = kVectors * kLanes<T>, kStepsAhead = 32;
  Vec<T> sum[kRows][kVectors];
  AEFAST_UNROLL
  for (int i = 0; i < kRows; ++i) {
    const Vec<T> start = bias ? bias[i] : T(0);
    AEFAST_UNROLL
    for (int j = 0; j < kVectors; ++j) sum[i][j] = accumulate ? Vec<T>::load(c + i * kWidth + j * kLanes<T>) : start;
  }
  for (const Segment<T>& segment : segments) {
    if (segment.ahead) segment.ahead->step();
    const T* a = segment.a;
    const T* b = segment.b;
    const auto go = [&](auto fetches, auto a_row) __attribute__((always_inline)) {
      for (Index k = 0; k < segment.depth; ++k) {
        if constexpr (fetches) __builtin_prefetch(a + kStepsAhead * segment.a_depth);
        Vec<T> right[kVectors];
        AEFAST_UNROLL
        for (int j = 0; j < kVectors; ++j) right[j] = Vec<T>::load(b + j * kLanes<T>);
        AEFAST_UNROLL
        for (int i = 0; i < kRows; ++i) {
          const Vec<T> left = a[i * a_row];
          AEFAST_UNROLL
          for (int j = 0; j < kVectors; ++j) sum[i][j] = fma(left, right[j], sum[i][j]);
        }
        a += segment.a_depth;
        b += kWidth;
      }
    };
    constexpr std::integral_constant<Index, 1> kNext;  // known steps need no registers of their own
    constexpr std::integral_constant<Index, kPanel<T>> kPanelOn;
    if (segment.is_far && segment.a_row == 1) {  // what the next rows of C need
      go(std::true_type{}, kNext);
      continue;
    }
    for (Index k = 0; segment.is_far && k < segment.depth; k += kLine<T>) {
      AEFAST_UNROLL
      for (int i = 0; i < kRows; ++i) __builtin_prefetch(a + (kRows + i) * segment.a_row + k);
    }
    if (segment.a_row == 1) go(std::false_type{}, kNext);
    else if (segment.a_row == kPanel<T>) go(std::false_type{}, kPanelOn);
    else go(std::false_type{}, segment.a_row);
  }
  end(sum, c);
}

template <class T, class End>
using Tile = void (*)(std::span<const Segment<T>>, const T*, bool, T*, const End&);

/// The tile of `rows` x kVectors, from a table made at compile time.
template <class T, class End, int kVectors>
Tile<T, End> find_tile(int rows) {
  static constexpr auto table = []<int... kRows>(std::integer_sequence<int, kRows...>) {
    return std::array<Tile<T, End>, sizeof...(kRows)>{&tile<T, End, kRows + 1, kVectors>...};
  }(std::make_integer_sequence<int, tile_rows(kVectors)>{});
  return table[static_cast<std::size_t>(rows - 1)];
}

template <int kVectors, class T, class Finish, class End>
void multiply_rows(Index rows, std::span<Segment<T>> segments, const T* bias, bool accumulate, T* c,
                   const Finish& finish, const End& end) {
  constexpr Index kMaxRows = tile_rows(kVectors);
  constexpr Index kWidth = kVectors * kLanes<T>;
  const Index groups = (rows + kMaxRows - 1) / kMaxRows;
  const Index least = groups > 1 ? rows / groups : rows;
  const Index n_least = (least + 1) * groups - rows;  // nearly equal: no thin, slow last one
  for (Index row = 0, group = 0; row < rows; ++group) {
    const Index count = group < n_least ? least : least + 1;
    const T* row_bias = bias ? bias + row : nullptr;
    find_tile<T, End, kVectors>(static_cast<int>(count))(segments, row_bias, accumulate, c + row * kWidth, end);
    finish(c + row * kWidth, count * kWidth);
    for (Segment<T>& segment : segments) segment.a += count * segment.a_row;
    row += count;
  }
}

}  // namespace detail

struct Nothing {
  template <class T>
  void operator()(T*, Index) const {}
};

/// Ends of a product: what becomes of a tile's sums while they are in registers. They are stored as they are,
struct Store {
  template <class T, int kRows, int kVectors>
  void operator()(const Vec<T> (&sum)[kRows][kVectors], T* c) const {
    store(sum, c, [](const Vec<T>& v) { return v; });
  }

 protected:
  template <class T, int kRows, int kVectors, class F>
  [[gnu::always_inline]] static void store(const Vec<T> (&sum)[kRows][kVectors], T* c, F&& f) {
    AEFAST_UNROLL
    for (int i = 0; i < kRows; ++i) {
      AEFAST_UNROLL
      for (int j = 0; j < kVectors; ++j) f(sum[i][j]).store(c + (i * kVectors + j) * kLanes<T>);
    }
  }
};

/// or, if negative, as zeros,
struct StoreRelu : Store {
  template <class T, int kRows, int kVectors>
  void operator()(const Vec<T> (&sum)[kRows][kVectors], T* c) const {
    store(sum, c, [](const Vec<T>& v) { return max(v, Vec<T>(T(0))); });
  }
};

/// or, where `y` is not positive, as zeros, `c` and `y` being laid out alike (ReLU's derivative, from its output),
template <class T>
struct StoreWherePositive {
  const T *c, *y;

  template <int kRows, int kVectors>
  void operator()(const Vec<T> (&sum)[kRows][kVectors], T* tile) const {
    const T* output = y + (tile - c);
    AEFAST_UNROLL
    for (int i = 0; i < kRows; ++i) {
      AEFAST_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        const Index at = (i * kVectors + j) * kLanes<T>;
        mask_and(less(Vec<T>(T(0)), Vec<T>::load(output + at)), sum[i][j]).store(tile + at);
      }
    }
  }
};

/// or not at all: the squares of what they differ by from `target`, laid out as the product, which has `c` alone as its
/// place, are added to `totals` (width). No target is one of zeros.
template <class T>
struct AddSquares {
  const T *c, *target;
  T* totals;

  template <int kRows, int kVectors>
  void operator()(const Vec<T> (&sum)[kRows][kVectors], const T* tile) const {
    const T* wanted = target ? target + (tile - c) : nullptr;
    AEFAST_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      Vec<T> total = Vec<T>::load(totals + j * kLanes<T>);
      AEFAST_UNROLL
      for (int i = 0; i < kRows; ++i) {
        Vec<T> error = sum[i][j];
        if (wanted) error = error - Vec<T>::load(wanted + (i * kVectors + j) * kLanes<T>);
        total = fma(error, error, total);
      }
      total.store(totals + j * kLanes<T>);
    }
  }
};

/// or, in training, the squares are added up and their gradient, times `scale` (width), is stored in the sums' place.
template <class T>
struct StoreSlopes {
  const T *c, *target, *scale;
  T* totals;

  template <int kRows, int kVectors>
  void operator()(const Vec<T> (&sum)[kRows][kVectors], T* tile) const {
    const T* wanted = target + (tile - c);
    AEFAST_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      const Vec<T> factor = Vec<T>::load(scale + j * kLanes<T>);
      Vec<T> total = Vec<T>::load(totals + j * kLanes<T>);
      AEFAST_UNROLL
      for (int i = 0; i < kRows; ++i) {
        const Index at = (i * kVectors + j) * kLanes<T>;
        const Vec<T> error = sum[i][j] - Vec<T>::load(wanted + at);
        total = total + error * error;
        (factor * (error + error)).store(tile + at);
      }
      total.store(totals + j * kLanes<T>);
    }
  }
};

/// C (rows x width) = bias + sum over segments of A B, with B and C panels of `width` (a multiple of the lanes, at most
/// kPanel) and `finish(elements, count)` called on every few rows of C while they are in cache. `segments` is scratch.
/// With `accumulate` the products are added to C as it is, and there is no bias.
template <class T, class Finish = Nothing, class End = Store>
void multiply(Index rows, Index width, std::span<Segment<T>> segments, const T* bias, T* c, const Finish& finish = {},
              bool accumulate = false, const End& end = {}) {
  using detail::multiply_rows;
  switch (width / kLanes<T>) {
    case 1: return multiply_rows<1>(rows, segments, bias, accumulate, c, finish, end);
    case 2: return multiply_rows<2>(rows, segments, bias, accumulate, c, finish, end);
    case 3: return multiply_rows<3>(rows, segments, bias, accumulate, c, finish, end);
    case 4:
      if constexpr (kMaxVectors > 3) return multiply_rows<4>(rows, segments, bias, accumulate, c, finish, end);
      break;
    default: break;
  }
}

}  // namespace aefast
