/// An activation as a layer of its own, used if batch normalisation comes between a product and its activation.
#pragma once

#include "activation.hpp"
#include "layer.hpp"

namespace aefast {

/// y = f(x).
template <class T>
class Activate final : public Layer<T> {
 public:
  Activate(Index n, const Activation<T>& activation) : Layer<T>(n, n), activation_(activation) {}

  void forward(const Block& block, const T*, const T* in, T* out) const override {
    const Index n = this->n_out() * block.width;
    std::copy_n(in, n, out);
    if (activation_.forward) activation_.forward(out, n);
  }

  void prepare(Index max_rows, const T*, const T*) override {
    if (activation_.keeps_slopes()) slopes_.reset(this->n_out() * round_up(max_rows, kLanes<T>));
  }

  void forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>&) override {
    if (!activation_.keeps_slopes()) return forward(block, params, in, out);
    const Index n = this->n_out();
    std::copy_n(in, n * block.width, out);
    activation_.forward_keep(out, slopes_.data() + n * block.first_row, n * block.width);
  }

  void backward(const Block& block, const T*, const T*, const T* out, T* delta_out, T* delta_in,
                const Step<T>&) override {
    if (!delta_in) return;
    const Index n = this->n_out();
    std::copy_n(delta_out, n * block.width, delta_in);
    if (!activation_.backward) return;
    const T* kept = activation_.keeps_slopes() ? slopes_.data() + n * block.first_row : out;
    activation_.backward(delta_in, kept, n * block.width);
  }

 private:
  Activation<T> activation_;
  Buffer<T> slopes_;
};

}  // namespace aefast
