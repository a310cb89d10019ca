/// The sparsity penalty on mean activations of a batch (Ng 2011, "Sparse autoencoder", eq. 8).
#pragma once

#include <cmath>

#include "spec.hpp"

namespace aefast {

/// The penalty is weight * KL(r || m), summed over units, for mean activations m of the batch and a target r.
/// Activations must be in (0, 1). The outputs are the inputs.
template <class T>
class KlSparsity final : public Layer<T> {
 public:
  KlSparsity(Index n, double target, double weight) : Layer<T>(n, n), target_(target), weight_(weight) {}

  static std::unique_ptr<Layer<T>> make(const LayerSpec& spec, const LayerContext<T>& context) {
    return std::make_unique<KlSparsity>(context.n_in, spec.number("target"), spec.number("weight"));
  }

  void prepare(Index, const T*, const T*) override { mean_.reset(this->n_out()); }

  void forward(const Block& block, const T*, const T* in, T* out) const override {
    std::copy_n(in, this->n_out() * block.width, out);
  }
  void forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>&) override {
    forward(block, params, in, out);
  }
  void backward(const Block&, const T*, const T*, const T*, T*, T*, const Step<T>&) override {}

  Index n_batch_tasks() const override { return 1; }

  void forward_batch(Index, std::span<const Block> blocks, T*, const T* in, T* out) override {
    const Index n = this->n_out();
    const auto load = [in](Index at) { return Vec<T>::load(in + at); };
    for (Index j = 0; j < n; ++j) {
      const double mean =
          static_cast<double>(sum_rows<T>(blocks, n, j, load)) / static_cast<double>(count_rows(blocks));
      mean_[j] = std::clamp(mean, kEdge, 1 - kEdge);
    }
    for (const Block& block : blocks) {
      std::copy_n(in + n * block.first_row, n * block.width, out + n * block.first_row);
    }
  }

  void backward_batch(Index, std::span<const Block> blocks, const T*, const T*, const T* delta_out, T* delta_in,
                      T*) override {
    const double n_rows = static_cast<double>(count_rows(blocks));
    for (Index j = 0; j < this->n_out(); ++j) {
      const double slope = weight_ / n_rows * ((1 - target_) / (1 - mean_[j]) - target_ / mean_[j]);
      const Vec<T> push(static_cast<T>(slope));
      each_register<T>(blocks, this->n_out(), j,
                       [&](Index at) { (Vec<T>::load(delta_out + at) + push).store(delta_in + at); });
    }
  }

  double batch_penalty() const override {
    double total = 0;
    for (Index j = 0; j < this->n_out(); ++j) {
      total += target_ * std::log(target_ / mean_[j]) + (1 - target_) * std::log((1 - target_) / (1 - mean_[j]));
    }
    return weight_ * total;
  }

 private:
  static constexpr double kEdge = 1e-6;  // keeps logarithms finite for units that are always or never active

  double target_, weight_;
  Buffer<double> mean_;
};

}  // namespace aefast
