/// Keeps the k largest values of each row and sets the others to zero (Makhzani and Frey 2013, section 2.2).
#pragma once

#include <numeric>

#include "spec.hpp"

namespace aefast {

/// In training and in scoring. Of equal values the first is kept.
template <class T>
class TopK final : public Layer<T> {
 public:
  TopK(Index n, Index k) : Layer<T>(n, n), k_(k) {}

  static std::unique_ptr<Layer<T>> make(const LayerSpec& spec, const LayerContext<T>& context) {
    const Index k = spec.count("k");
    if (k < 1 || k > context.n_in) throw std::invalid_argument("top_k needs k between 1 and its inputs");
    return std::make_unique<TopK>(context.n_in, k);
  }

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
