/// The two ways an array of rows x features is stored inside the engine, and the passage between them.
///
/// A *block* holds up to kPanel rows feature by feature: element (feature, row) at feature * width + row, where width
/// is the number of rows rounded up to whole registers. Products forward and backward read and write blocks.
///
/// *Strips* hold all rows of a batch row by row, cut into strips of kPanel features: within a strip, element (row,
/// feature) at row * strip width + feature. Gradients of weights read strips.
#pragma once

#include "gemm.hpp"

namespace aefast {

/// Half-open range of features.
struct Features {
  Index first, last;
  Index count() const { return last - first; }
};

/// Rows of a batch that go through the network together.
struct Block {
  Index index;      // which block of the batch
  Index first_row;  // of the batch
  Index n_rows;
  Index width;                  // n_rows rounded up to whole registers
  Prefetcher* ahead = nullptr;  // of the rows after them, where these are read soon
  Index part = 0, n_parts = 1;  // of the features of each layer that are computed, where threads share a block

  /// Those of `n` features that belong to this part; parts begin at whole registers or, of many features, panels.
  template <class T>
  Features share(Index n) const {
    if (n_parts == 1) return {0, n};
    const Index step = n >= 2 * kPanel<T> ? kPanel<T> : kLanes<T>;
    const auto begin = [&](Index i) { return std::min(n, round_up(n * i / n_parts, step)); };
    return {begin(part), begin(part + 1)};
  }
};

/// Features cut into strips, each as wide as a panel but for the last.
template <class T>
class Strips {
 public:
  Strips() = default;
  Strips(Index n_features, Index max_rows)
      : n_features_(n_features),
        max_rows_(round_up(max_rows, kLanes<T>)),
        data_(round_up(n_features, kLanes<T>) * round_up(max_rows, kLanes<T>)) {}

  Index n_features() const { return n_features_; }
  Index count() const { return (n_features_ + kPanel<T> - 1) / kPanel<T>; }
  Index width(Index strip) const { return std::min(kPanel<T>, round_up(n_features_ - strip * kPanel<T>, kLanes<T>)); }
  T* at(Index strip, Index row) { return data_.data() + strip * kPanel<T> * max_rows_ + row * width(strip); }
  const T* at(Index strip, Index row) const { return const_cast<Strips*>(this)->at(strip, row); }

  /// A block's share of the features to rows first_row.. of the strips; those past the last become zero.
  void from_block(const Block& block, Index first_row, const T* from) {
    const Features share = block.share<T>(n_features_);
    for (Index feature = share.first; feature < share.last; feature += kLanes<T>) {
      const Index strip = feature / kPanel<T>, strip_width = width(strip);
      for (Index row = 0; row < block.width; row += kLanes<T>) {
        transpose_square(from + feature * block.width + row, block.width, n_features_ - feature,
                         at(strip, first_row + row) + feature % kPanel<T>, strip_width);
      }
    }
  }

 private:
  Index n_features_ = 0;
  Index max_rows_ = 0;
  Buffer<T> data_;
};

/// The most rows of a block in scoring: a register less than a panel where the panel's rows would leave too little of a
/// core's own cache to the weights, and products have registers enough to be as fast with fewer rows.
template <class T>
Index most_rows(Index n_features) {
  constexpr Index kMuch = 384 * 1024;
  const bool is_wide = n_features * kPanel<T> * static_cast<Index>(sizeof(T)) >= kMuch;
  return kRegisters == 32 && is_wide ? kPanel<T> - kLanes<T> : kPanel<T>;
}

/// Rows of a block: a panel's, but no more than there are, and fewer where a layer of theirs would take much memory.
template <class T>
Index block_width(Index n_rows, Index n_features) {
  constexpr Index kBytes = 32 * 1024 * 1024;
  const Index n_fit = kBytes / (n_features * static_cast<Index>(sizeof(T)));
  const Index n_wanted = std::min(kPanel<T>, round_up(std::max<Index>(1, n_rows), kLanes<T>));
  return std::clamp(n_fit / kLanes<T> * kLanes<T>, kLanes<T>, n_wanted);
}

/// Cuts `n_rows` into blocks of at most `width` rows.
template <class T>
Block block_of(Index index, Index n_rows, Index width) {
  const Index first = index * width;
  const Index count = std::min(width, n_rows - first);
  return {index, first, count, round_up(count, kLanes<T>)};
}

inline Index count_rows(std::span<const Block> blocks) { return blocks.back().first_row + blocks.back().n_rows; }

/// Calls f(offset) on every register of a feature, in all blocks.
template <class T, class F>
void each_register(std::span<const Block> blocks, Index n_features, Index feature, F&& f) {
  for (const Block& block : blocks) {
    const Index start = n_features * block.first_row + feature * block.width;
    for (Index row = 0; row < block.width; row += kLanes<T>) f(start + row);
  }
}

/// Sums f(offset of a register, rows of it that exist) over a feature's rows: lanes first, in the order of the rows, so
/// that how rows are cut into blocks does not show.
template <class T, class F>
T sum_rows(std::span<const Block> blocks, Index n_features, Index feature, F&& f) {
  Vec<T> lanes(T(0));
  for (const Block& block : blocks) {
    const Index start = n_features * block.first_row + feature * block.width;
    for (Index row = 0; row < block.n_rows; row += kLanes<T>) {
      const Index n = block.n_rows - row;
      const Vec<T> value = f(start + row);
      if (n >= kLanes<T>) {
        lanes = lanes + value;
      } else {
        alignas(kAlignment) T all[kLanes<T>];
        value.store(all);
        lanes = lanes + load_first(all, n);
      }
    }
  }
  return sum(lanes);
}

}  // namespace aefast
