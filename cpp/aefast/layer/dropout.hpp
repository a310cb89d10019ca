/// Inverted dropout (Srivastava et al. 2014): in training an output is zero with probability `rate` and scaled by
/// 1 / (1 - rate) otherwise. The mask is a function of (seed, epoch, position, feature) and is drawn again, not stored.
#pragma once

#include "../random.hpp"
#include "layer.hpp"

namespace aefast {

template <class T>
class Dropout final : public Layer<T> {
 public:
  /// `part` tells this layer's draws from those of others.
  Dropout(Index n, T rate, std::uint32_t part) : Layer<T>(n, n), rate_(rate), part_(part) {}

  void forward(const Block& block, const T*, const T* in, T* out) const override {
    std::copy_n(in, this->n_out() * block.width, out);
  }

  void forward_train(const Block& block, const T*, const T* in, T* out, const DrawPlace& place) override {
    mask(block, in, out, place);
  }

  void backward(const Block& block, const T*, const T*, const T*, T* delta_out, T* delta_in,
                const DrawPlace& place) override {
    if (delta_in) mask(block, delta_out, delta_in, place);
  }

 private:
  void mask(const Block& block, const T* from, T* to, const DrawPlace& place) const {
    const Philox philox(place.seed, Draw::dropout, place.epoch, part_);
    const T keep = T(1) / (T(1) - rate_);
    // Four features share a draw; positions count on past the last row, where the result is not used.
    for (Index feature = 0; feature < this->n_out(); feature += 4) {
      const Index n = std::min<Index>(4, this->n_out() - feature);
      for (Index row = 0; row < block.width; ++row) {
        const auto position = static_cast<std::uint64_t>(place.first_position + block.first_row + row);
        const auto words = philox(position << 20 | static_cast<std::uint64_t>(feature / 4));
        for (Index j = 0; j < n; ++j) {
          const Index at = (feature + j) * block.width + row;
          to[at] = uniform<T>(words[static_cast<std::size_t>(j)]) < rate_ ? T(0) : from[at] * keep;
        }
      }
    }
  }

  T rate_;
  std::uint32_t part_;
};

}  // namespace aefast
