/// A matrix that multiplies blocks of rows outside the network, W x + bias.
#pragma once

#include "aefast/product/weights.hpp"

namespace aefast {

/// Puts a value among the smallest ones so far, `kept`, which are ascending.
template <class T, int kCount>
[[gnu::always_inline]] inline void keep_least(Vec<T> (&kept)[kCount], Vec<T> value) {
  AEFAST_UNROLL
  for (int rank = 0; rank < kCount; ++rank) {
    const Vec<T> smaller = min(kept[rank], value);
    if (rank + 1 < kCount) value = max(kept[rank], value);
    kept[rank] = smaller;
  }
}

template <class T>
class LinearMap {
 public:
  LinearMap() = default;
  /// Makes the map of element(output, input) and bias(output), both double.
  template <class Element, class Bias>
  LinearMap(Index n_out, Index n_in, Element&& element, Bias&& bias)
      : weights_{n_out, n_out, n_in, true, n_out <= n_in}, params_(n_out + weights_.template size<T>()) {
    for (Index k = 0; k < n_out; ++k) {
      params_[k] = static_cast<T>(bias(k));
      for (Index i = 0; i < n_in; ++i) params_[weights_.template at<T>(k, i)] = static_cast<T>(element(k, i));
    }
  }

  Index n_in() const { return weights_.n_inputs; }
  Index n_out() const { return weights_.n_outputs; }

  /// Computes W x + bias of a block, and calls `end` with the sums of each register tile.
  template <class End = Store>
  void apply(const Block& block, const T* x, T* to, const End& end = {}) const {
    multiply_weights(false, weights_, params_.data(), block.width, x, params_.data(), to, {0, n_out()}, Nothing{}, end,
                     block.prefetcher);
  }

  /// Computes some outputs of one panel, none of which reads an input before the one with the number of the first.
  template <class End>
  void apply_part(const Block& block, const T* x, const Features& wanted, const End& end) const {
    const Index first = wanted.first, step = weights_.template panel_width<T>(first / kPanel<T> * kPanel<T>);
    Product<T> rest{params_.data() + weights_.template at<T>(first, first),
                    x + first * block.width,
                    n_in() - first,
                    1,
                    step,
                    false,
                    block.prefetcher};
    multiply<T>(wanted.count(), block.width, {&rest, 1}, params_.data() + first, nullptr, Nothing{}, false, end);
  }

 private:
  Parameter weights_{};
  Buffer<T> params_;  // the bias, then the weights
};

/// An upper triangular matrix, R x + bias, in half of the multiply-adds.
template <class T>
class TriangularMap {
 public:
  TriangularMap() = default;
  template <class Element, class Bias>
  TriangularMap(Index n, Element&& element, Bias&& bias) : map_(n, n, element, bias) {}

  /// Computes R x + bias of a block, and calls `end` with the sums of each register tile.
  template <class End>
  void apply(const Block& block, const T* x, const End& end) const {
    const Index n = map_.n_out(), most = Level::kTileRows[block.width / kLanes<T> - 1];
    for (Index panel = 0; panel < n; panel += kPanel<T>) {
      const Index count = std::min(kPanel<T>, n - panel), n_tiles = (count + most - 1) / most;
      for (Index tile = 0; tile < n_tiles; ++tile) {
        map_.apply_part(block, x, {panel + tile * count / n_tiles, panel + (tile + 1) * count / n_tiles}, end);
      }
    }
  }

 private:
  LinearMap<T> map_;
};

}  // namespace aefast
