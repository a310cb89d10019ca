/// Inverted dropout (Srivastava et al. 2014): in training an output is zero with probability `rate` and scaled by
/// 1 / (1 - rate) otherwise. `backward` draws the mask again instead of storing it.
#pragma once

#include "aefast/simd/random_fill.hpp"
#include "layer.hpp"

namespace aefast {

template <class T>
class Dropout final : public Layer<T> {
 public:
  /// `layer` is the number of the layer; layers have random numbers of their own.
  Dropout(Index n, T rate, std::uint32_t layer) : Layer<T>(n, n), rate_(rate), layer_(layer) {}

  void forward(const Block& block, const T*, const T* in, T* out) const override {
    std::copy_n(in, this->n_out() * block.width, out);
  }

  void forward_train(const Block& block, const T*, const T* in, T* out, const Step<T>& step) override {
    mask(block, in, out, step);
  }

  void backward(const Block& block, const T*, const T*, const T*, T* delta_out, T* delta_in,
                const Step<T>& step) override {
    if (delta_in) mask(block, delta_out, delta_in, step);
  }

 private:
  /// Draws into `to`, then writes the masked elements of `from` there.
  void mask(const Block& block, const T* from, T* to, const Step<T>& step) const {
    const Philox philox(step.seed, Stream::dropout, step.epoch, layer_);
    fill_uniform(philox, step.first_position + block.first_row, this->n_out(), block.width, to);
    const Vec<T> rate(rate_), keep(T(1) / (T(1) - rate_)), zero(T(0));
    map(
        to, this->n_out() * block.width,
        [&](const Vec<T>& draw, const Vec<T>& x) { return select(less(draw, rate), zero, x * keep); }, to, from);
  }

  T rate_;
  std::uint32_t layer_;
};

}  // namespace aefast
