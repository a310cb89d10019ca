/// The one matrix product of the engine: C = bias + sum of products A B.
///
/// B and C are *panels*: row-major matrices that are one to four vectors wide, so that a row of one is one to four
/// registers. A is read one element at a time and broadcast, with any strides, so it is never packed or transposed.
/// Everything is this product:
///
///   forward              out (n_out x rows)   = W      (n_out x n_in)  in (n_in x rows)
///   backward to inputs   din (n_in x rows)    = W^T    (n_in x n_out)  dout (n_out x rows)
///   gradient             dW (n_out x n_in)    = dout   (n_out x rows)  in^T (rows x n_in)
///
/// Activations are stored feature by feature with rows in the lanes. So narrow layers waste no lane, no sum runs across
/// lanes, and a row's result does not depend on the other rows. Every element of C is summed in the order of the depth
/// by fused multiply-adds, whatever the register tile.
#pragma once

#include <array>
#include <span>
#include <utility>
#include <vector>

#include "ends.hpp"

namespace aefast {

/// Fetches the next rows while products are computed: a few cache lines at each product, since many at once would delay
/// the loads. The number of products of one block determines how many lines each product of the next block fetches.
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

/// One product A B of the sum. Its depth is `depth`; neighbouring elements of A are `a_row` apart from row to row, and
/// `a_depth` along the depth.
template <class T>
struct Product {
  Product() {}  // leaves the elements of a list that are not in use without values
  Product(const T* a_, const T* b_, Index depth_, Index a_row_, Index a_depth_, bool is_far_ = false,
          Prefetcher* prefetcher_ = nullptr)
      : a(a_), b(b_), depth(depth_), a_row(a_row_), a_depth(a_depth_), is_far(is_far_), prefetcher(prefetcher_) {}

  const T* a;
  const T* b;
  Index depth;
  Index a_row;
  Index a_depth;
  bool is_far;             // A is larger than a core's own cache, so its next elements are prefetched
  Prefetcher* prefetcher;  // may be null
};

/// A list of products; short ones need no allocation.
template <class T>
class ProductList {
 public:
  explicit ProductList(Index capacity) {
    if (capacity > kInline) more_.resize(static_cast<std::size_t>(capacity));
    data_ = capacity > kInline ? more_.data() : inline_;
  }
  void add(const Product<T>& product) { data_[size_++] = product; }
  void clear() { size_ = 0; }
  std::span<Product<T>> all() { return {data_, size_}; }

 private:
  static constexpr Index kInline = 64;
  Product<T> inline_[kInline];
  std::vector<Product<T>> more_;
  Product<T>* data_;
  std::size_t size_ = 0;
};

namespace detail {

template <class T>
inline constexpr Index kLine = 64 / static_cast<Index>(sizeof(T));

/// Rows of the register tile for a panel of `vectors`: enough sums to hide the latency of a multiply-add, and few
/// enough to stay in registers.
constexpr int tile_rows(int vectors) { return Level::kTileRows[vectors - 1]; }

/// Computes kRows rows of C in registers, then calls `end` with them.
template <class T, class End, int kRows, int kVectors>
void tile(std::span<const Product<T>> products, const T* bias, bool accumulate, T* c, const End& end) {
  static_assert(kRows * kVectors + kVectors + 1 <= kRegisters, "the tile would spill");
  constexpr Index kWidth = kVectors * kLanes<T>, kStepsAhead = 32;
  Vec<T> sum[kRows][kVectors];
  AEFAST_UNROLL
  for (int i = 0; i < kRows; ++i) {
    const Vec<T> start = bias ? bias[i] : T(0);
    AEFAST_UNROLL
    for (int j = 0; j < kVectors; ++j) sum[i][j] = accumulate ? Vec<T>::load(c + i * kWidth + j * kLanes<T>) : start;
  }
  for (const Product<T>& product : products) {
    if (product.prefetcher) product.prefetcher->step();
    const T* a = product.a;
    const T* b = product.b;
    const auto go = [&](auto fetches, auto a_row) __attribute__((always_inline)) {
      for (Index k = 0; k < product.depth; ++k) {
        if constexpr (fetches) __builtin_prefetch(a + kStepsAhead * product.a_depth);
        Vec<T> right[kVectors];
        AEFAST_UNROLL
        for (int j = 0; j < kVectors; ++j) right[j] = Vec<T>::load(b + j * kLanes<T>);
        AEFAST_UNROLL
        for (int i = 0; i < kRows; ++i) {
          const Vec<T> left = a[i * a_row];
          AEFAST_UNROLL
          for (int j = 0; j < kVectors; ++j) sum[i][j] = fma(left, right[j], sum[i][j]);
        }
        a += product.a_depth;
        b += kWidth;
      }
    };
    constexpr std::integral_constant<Index, 1> kNext;  // constant strides need no registers
    constexpr std::integral_constant<Index, kPanel<T>> kPanelOn;
    if (product.is_far && product.a_row == 1) {  // fetch what the next rows of C need
      go(std::true_type{}, kNext);
      continue;
    }
    for (Index k = 0; product.is_far && k < product.depth; k += kLine<T>) {
      AEFAST_UNROLL
      for (int i = 0; i < kRows; ++i) __builtin_prefetch(a + (kRows + i) * product.a_row + k);
    }
    if (product.a_row == 1) go(std::false_type{}, kNext);
    else if (product.a_row == kPanel<T>) go(std::false_type{}, kPanelOn);
    else go(std::false_type{}, product.a_row);
  }
  end(sum, c);
}

template <class T, class End>
using Tile = void (*)(std::span<const Product<T>>, const T*, bool, T*, const End&);

/// The tile of `rows` x kVectors, from a table made at compile time.
template <class T, class End, int kVectors>
Tile<T, End> find_tile(int rows) {
  static constexpr auto table = []<int... kRows>(std::integer_sequence<int, kRows...>) {
    return std::array<Tile<T, End>, sizeof...(kRows)>{&tile<T, End, kRows + 1, kVectors>...};
  }(std::make_integer_sequence<int, tile_rows(kVectors)>{});
  return table[static_cast<std::size_t>(rows - 1)];
}

template <int kVectors, class T, class Finish, class End>
void multiply_rows(Index rows, std::span<Product<T>> products, const T* bias, bool accumulate, T* c,
                   const Finish& finish, const End& end) {
  constexpr Index kMaxRows = tile_rows(kVectors);
  constexpr Index kWidth = kVectors * kLanes<T>;
  const Index n_tiles = (rows + kMaxRows - 1) / kMaxRows;
  const Index least = n_tiles > 1 ? rows / n_tiles : rows;
  const Index n_least = (least + 1) * n_tiles - rows;  // tiles of nearly equal height: no thin, slow last one
  for (Index row = 0, tile = 0; row < rows; ++tile) {
    const Index count = tile < n_least ? least : least + 1;
    const T* row_bias = bias ? bias + row : nullptr;
    find_tile<T, End, kVectors>(static_cast<int>(count))(products, row_bias, accumulate, c + row * kWidth, end);
    finish(c + row * kWidth, count * kWidth);
    for (Product<T>& product : products) product.a += count * product.a_row;
    row += count;
  }
}

}  // namespace detail

/// C (rows x width) = bias + sum of products. B and C are panels of `width`, a multiple of the lanes and at most
/// kPanel. `end` stores the sums of a register tile; `finish(elements, count)` is called for every few rows of C while
/// they are in cache. With `accumulate` the products are added to C, and there is no bias. Changes `products`.
template <class T, class Finish = Nothing, class End = Store>
void multiply(Index rows, Index width, std::span<Product<T>> products, const T* bias, T* c, const Finish& finish = {},
              bool accumulate = false, const End& end = {}) {
  using detail::multiply_rows;
  switch (width / kLanes<T>) {
    case 1: return multiply_rows<1>(rows, products, bias, accumulate, c, finish, end);
    case 2: return multiply_rows<2>(rows, products, bias, accumulate, c, finish, end);
    case 3: return multiply_rows<3>(rows, products, bias, accumulate, c, finish, end);
    case 4:
      if constexpr (kMaxVectors > 3) return multiply_rows<4>(rows, products, bias, accumulate, c, finish, end);
      break;
    default: break;
  }
}

}  // namespace aefast
