/// Batch normalisation (Ioffe and Szegedy 2015, algorithms 1 and 2).
#pragma once

#include <cmath>

#include "layer.hpp"

namespace aefast {

/// y = gamma (x - mean) / sqrt(variance + epsilon) + beta, with the moments of the batch in training and running
/// averages in scoring. Parameters: gamma, beta, running mean and running variance; the last two have no gradient.
template <class T>
class BatchNorm final : public Layer<T> {
 public:
  static constexpr Index kFeaturesOfTask = 16;
  static constexpr double kEpsilon = 1e-5;
  static constexpr double kMomentum = 0.1;  // weight of the newest batch in the running averages

  BatchNorm(Index n, Index& offset) : Layer<T>(n, n) {
    for (Parameter& parameter : parameters_) {
      parameter = {offset, 1, n, false};
      offset += parameter.template size<T>();
    }
  }

  std::vector<Parameter> parameters() const override { return {parameters_, parameters_ + 4}; }

  void prepare(Index, const T*, const T*) override {
    inverse_.reset(this->n_out());
    mean_.reset(this->n_out());
  }

  void forward(const Block& block, const T* params, const T* in, T* out) const override {
    for (Index j = 0; j < this->n_out(); ++j) {
      const T deviation = std::sqrt(at(params, 3, j) + static_cast<T>(kEpsilon));
      const Vec<T> factor(at(params, 0, j) / deviation), mean(at(params, 2, j)), beta(at(params, 1, j));
      map(
          out + j * block.width, block.width, [&](const Vec<T>& x) { return fma(x - mean, factor, beta); },
          in + j * block.width);
    }
  }

  // Training uses forward_batch and backward_batch.
  void forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>&) override {
    forward(block, params, in, out);
  }
  void backward(const Block&, const T*, const T*, const T*, T*, T*, const Step<T>&) override {}

  Index n_batch_tasks() const override { return (this->n_out() + kFeaturesOfTask - 1) / kFeaturesOfTask; }

  void forward_batch(Index task, std::span<const Block> blocks, T* params, const T* in, T* out) override {
    const T n = static_cast<T>(count_rows(blocks));
    each_feature(task, [&](Index j) {
      const auto x = [in](Index at) { return Vec<T>::load(in + at); };
      const T mean = sum_rows<T>(blocks, this->n_out(), j, x) / n;
      const Vec<T> center(mean);
      const T variance = sum_rows<T>(blocks, this->n_out(), j,
                                     [&](Index at) {
                                       const Vec<T> d = x(at) - center;
                                       return d * d;
                                     }) /
                         n;
      mean_[j] = mean;
      inverse_[j] = T(1) / std::sqrt(variance + static_cast<T>(kEpsilon));
      const Vec<T> factor(at(params, 0, j) * inverse_[j]), beta(at(params, 1, j));
      each_register<T>(blocks, this->n_out(), j, [&](Index at) { fma(x(at) - center, factor, beta).store(out + at); });
      const T unbiased = n > 1 ? variance * n / (n - 1) : variance;
      const T newest = static_cast<T>(kMomentum);
      T& running_mean = params[parameters_[2].offset + j];
      T& running_variance = params[parameters_[3].offset + j];
      running_mean += newest * (mean - running_mean);
      running_variance += newest * (unbiased - running_variance);
    });
  }

  void backward_batch(Index task, std::span<const Block> blocks, const T* params, const T* in, const T* delta_out,
                      T* delta_in, T* gradient) override {
    const T n = static_cast<T>(count_rows(blocks));
    each_feature(task, [&](Index j) {
      const Vec<T> center(mean_[j]), inverse(inverse_[j]);
      const auto normal = [&](Index at) { return (Vec<T>::load(in + at) - center) * inverse; };
      const auto delta = [&](Index at) { return Vec<T>::load(delta_out + at); };
      const T by_gamma = sum_rows<T>(blocks, this->n_out(), j, [&](Index at) { return delta(at) * normal(at); });
      const T by_beta = sum_rows<T>(blocks, this->n_out(), j, delta);
      gradient[parameters_[0].offset + j] = by_gamma;
      gradient[parameters_[1].offset + j] = by_beta;
      const Vec<T> mean_delta(by_beta / n), mean_product(by_gamma / n), factor(at(params, 0, j) * inverse_[j]);
      each_register<T>(blocks, this->n_out(), j, [&](Index at) {
        (factor * (delta(at) - mean_delta - normal(at) * mean_product)).store(delta_in + at);
      });
    });
  }

  /// `backward_batch` has computed the gradients; one task reports them.
  Index n_gradient_tasks() const override { return 1; }
  void gradient(Index, std::span<const Block>, const Slice&, T*, const OnGradient& on_gradient) const override {
    for (int i = 0; i < 2; ++i) on_gradient(parameters_[i].offset, parameters_[i].template size<T>(), false);
  }

 private:
  const T& at(const T* params, int which, Index j) const { return params[parameters_[which].offset + j]; }

  template <class F>
  void each_feature(Index task, F&& f) const {
    const Index first = task * kFeaturesOfTask;
    const Index last = std::min(this->n_out(), first + kFeaturesOfTask);
    for (Index j = first; j < last; ++j) f(j);
  }

  Parameter parameters_[4];
  Buffer<T> inverse_, mean_;
};

}  // namespace aefast
