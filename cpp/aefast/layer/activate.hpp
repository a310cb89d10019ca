/// Layers without parameters that treat each row alone: an activation by itself, and the k largest of a row.
#pragma once

#include <numeric>

#include "activation.hpp"
#include "layer.hpp"

namespace aefast {

/// y = f(x), where something stands between the product and its activation.
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

/// Keeps the k largest of each row and makes the others zero, in training and in scoring (Makhzani and Frey 2013,
/// section 2.2). Of equals the first is kept.
template <class T>
class TopK final : public Layer<T> {
 public:
  TopK(Index n, Index k) : Layer<T>(n, n), k_(k) {}

  void forward(const Block& block, const T*, const T* in, T* out) const override {
    const Index n = this->n_out();
    std::vector<Index> order(static_cast<std::size_t>(n));
    std::fill_n(out, n * block.width, T(0));
    for (Index row = 0; row < block.n_rows; ++row) {
      const auto value = [&](Index j) { return in[j * block.width + row]; };
      std::iota(order.begin(), order.end(), Index{0});
      std::nth_element(order.begin(), order.begin() + (k_ - 1), order.end(),
                       [&](Index a, Index b) { return value(a) > value(b) || (value(a) == value(b) && a < b); });
      for (Index i = 0; i < k_; ++i) {
        const Index j = order[static_cast<std::size_t>(i)];
        out[j * block.width + row] = value(j);
      }
    }
  }

  void forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>&) override {
    forward(block, params, in, out);
  }

  void backward(const Block& block, const T*, const T*, const T* out, T* delta_out, T* delta_in,
                const Step<T>&) override {
    if (!delta_in) return;
    const Vec<T> zero(T(0));
    map(
        delta_in, this->n_out() * block.width,
        [&](const Vec<T>& delta, const Vec<T>& y) { return mask_and(less(zero, abs(y)), delta); }, delta_out, out);
  }

 private:
  Index k_;
};

}  // namespace aefast
