/// The two layouts of rows x features inside the engine, and the conversion between them.
///
/// A *block* holds up to kPanel rows feature by feature: element (feature, row) is at feature * width + row, with the
/// number of rows rounded up to whole registers as its width. Products forward and backward read and write blocks.
///
/// *Panels* hold all rows of a batch row by row, kPanel features in each panel: element (row, feature) of a panel is at
/// row * panel width + feature. Gradients of weights read panels.
#pragma once

#include "gemm.hpp"

namespace aefast {

/// Half-open range of features.
struct Features {
  Index first, last;
  Index count() const { return last - first; }
};

/// Rows of a batch that pass through the network together.
struct Block {
  Index index;      // which block of the batch
  Index first_row;  // of the batch
  Index n_rows;
  Index width;                       // n_rows rounded up to whole registers
  Prefetcher* prefetcher = nullptr;  // fetches the rows after the block, if they are read soon
  Index worker = 0, n_workers = 1;   // if threads share a block, each computes some features of each layer

  /// The features, of `n`, that this worker computes: whole registers or, of many features, whole panels.
  template <class T>
  Features own_features(Index n) const {
    if (n_workers == 1) return {0, n};
    const Index step = n >= 2 * kPanel<T> ? kPanel<T> : kLanes<T>;
    const auto begin = [&](Index i) { return std::min(n, round_up(n * i / n_workers, step)); };
    return {begin(worker), begin(worker + 1)};
  }
};

/// The rows of a batch in panels of kPanel features; the last may be narrower.
template <class T>
class Panels {
 public:
  Panels() = default;
  Panels(Index n_features, Index max_rows)
      : n_features_(n_features),
        max_rows_(round_up(max_rows, kLanes<T>)),
        data_(round_up(n_features, kLanes<T>) * round_up(max_rows, kLanes<T>)) {}

  Index n_features() const { return n_features_; }
  Index count() const { return (n_features_ + kPanel<T> - 1) / kPanel<T>; }
  Index width(Index panel) const { return std::min(kPanel<T>, round_up(n_features_ - panel * kPanel<T>, kLanes<T>)); }
  T* at(Index panel, Index row) { return data_.data() + panel * kPanel<T> * max_rows_ + row * width(panel); }
  const T* at(Index panel, Index row) const { return const_cast<Panels*>(this)->at(panel, row); }

  /// Copies the own features of a block to rows [first_row, first_row + width); features past the last become zero.
  void from_block(const Block& block, Index first_row, const T* from) {
    const Features own = block.own_features<T>(n_features_);
    for (Index feature = own.first; feature < own.last; feature += kLanes<T>) {
      const Index panel = feature / kPanel<T>, panel_width = width(panel);
      for (Index row = 0; row < block.width; row += kLanes<T>) {
        transpose_square(from + feature * block.width + row, block.width, n_features_ - feature,
                         at(panel, first_row + row) + feature % kPanel<T>, panel_width);
      }
    }
  }

 private:
  Index n_features_ = 0;
  Index max_rows_ = 0;
  Buffer<T> data_;
};

/// The most rows of a block in scoring: a panel's or, if these rows of a wide layer would leave too little of a core's
/// own cache to the weights, one register less. Levels with 32 registers are as fast with fewer rows.
template <class T>
Index most_rows(Index n_features) {
  constexpr Index kMuch = 384 * 1024;
  const bool is_wide = n_features * kPanel<T> * static_cast<Index>(sizeof(T)) >= kMuch;
  return kRegisters == 32 && is_wide ? kPanel<T> - kLanes<T> : kPanel<T>;
}

/// The number of rows of a block, in whole registers: at most kPanel, and fewer if a layer would need much memory.
template <class T>
Index block_width(Index n_rows, Index n_features) {
  constexpr Index kBytes = 32 * 1024 * 1024;
  const Index n_fit = kBytes / (n_features * static_cast<Index>(sizeof(T)));
  const Index n_wanted = std::min(kPanel<T>, round_up(std::max<Index>(1, n_rows), kLanes<T>));
  return std::clamp(n_fit / kLanes<T> * kLanes<T>, kLanes<T>, n_wanted);
}

/// Block `index` of `n_rows` rows cut into blocks of at most `width` rows.
template <class T>
Block block_of(Index index, Index n_rows, Index width) {
  const Index first = index * width;
  const Index count = std::min(width, n_rows - first);
  return {index, first, count, round_up(count, kLanes<T>)};
}

inline Index count_rows(std::span<const Block> blocks) { return blocks.back().first_row + blocks.back().n_rows; }

/// Calls f(offset) for every register of a feature, in all blocks.
template <class T, class F>
void each_register(std::span<const Block> blocks, Index n_features, Index feature, F&& f) {
  for (const Block& block : blocks) {
    const Index start = n_features * block.first_row + feature * block.width;
    for (Index row = 0; row < block.width; row += kLanes<T>) f(start + row);
  }
}

/// Sums f(offset of a register) over the rows of a feature that exist. Lanes are summed first, in the order of the
/// rows, so that the result does not depend on how rows are cut into blocks.
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
