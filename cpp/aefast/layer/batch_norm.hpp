/// Batch normalisation (Ioffe and Szegedy 2015, algorithms 1 and 2).
#pragma once

#include <cmath>

#include "layer.hpp"

namespace aefast {

/// y = gamma (x - mean) / sqrt(variance + epsilon) + beta, with the moments of the batch in training and running
/// averages in scoring. All pixels of a channel have the same moments, those over pixels and rows. Parameters, by
/// channel: gamma, beta, running mean and running variance; the last two have no gradient.
template <class T>
class BatchNorm final : public Layer<T> {
 public:
  static constexpr Index kFeaturesOfTask = 16;
  static constexpr double kEpsilon = 1e-5;
  static constexpr double kMomentum = 0.1;  // weight of the newest batch in the running averages

  /// `n_channels` divides the number of features n; channels run fastest. Features without pixels are channels of one.
  BatchNorm(Index n, Index n_channels, Index& offset) : Layer<T>(n, n), n_channels_(n_channels) {
    for (Parameter& parameter : parameters_) {
      parameter = {offset, 1, n_channels, false};
      offset += parameter.template size<T>();
    }
  }

  std::vector<Parameter> parameters() const override { return {parameters_, parameters_ + 4}; }

  void prepare(Index, const T*, const T*) override {
    inverse_.reset(n_channels_);
    mean_.reset(n_channels_);
  }

  void forward(const Block& block, const T* params, const T* in, T* out) const override {
    for (Index j = 0; j < n_channels_; ++j) {
      const T deviation = std::sqrt(at(params, 3, j) + static_cast<T>(kEpsilon));
      const Vec<T> factor(at(params, 0, j) / deviation), mean(at(params, 2, j)), beta(at(params, 1, j));
      each_feature(j, [&](Index feature) {
        map(
            out + feature * block.width, block.width, [&](const Vec<T>& x) { return fma(x - mean, factor, beta); },
            in + feature * block.width);
      });
    }
  }

  // Training uses forward_batch and backward_batch.
  void forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>&) override {
    forward(block, params, in, out);
  }
  void backward(const Block&, const T*, const T*, const T*, T*, T*, const Step<T>&) override {}

  Index n_batch_tasks() const override { return (n_channels_ + n_of_task() - 1) / n_of_task(); }

  void forward_batch(Index task, std::span<const Block> blocks, T* params, const T* in, T* out) override {
    const T n = count(blocks);
    each_channel(task, [&](Index j) {
      const auto x = [in](Index at) { return Vec<T>::load(in + at); };
      const T mean = sum_channel(blocks, j, x) / n;
      const Vec<T> center(mean);
      const auto square = [&](Index at) {
        const Vec<T> d = x(at) - center;
        return d * d;
      };
      const T variance = sum_channel(blocks, j, square) / n;
      mean_[j] = mean;
      inverse_[j] = T(1) / std::sqrt(variance + static_cast<T>(kEpsilon));
      const Vec<T> factor(at(params, 0, j) * inverse_[j]), beta(at(params, 1, j));
      each_of_channel(blocks, j, [&](Index at) { fma(x(at) - center, factor, beta).store(out + at); });
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
    const T n = count(blocks);
    each_channel(task, [&](Index j) {
      const Vec<T> center(mean_[j]), inverse(inverse_[j]);
      const auto normal = [&](Index at) { return (Vec<T>::load(in + at) - center) * inverse; };
      const auto delta = [&](Index at) { return Vec<T>::load(delta_out + at); };
      const T by_gamma = sum_channel(blocks, j, [&](Index at) { return delta(at) * normal(at); });
      const T by_beta = sum_channel(blocks, j, delta);
      gradient[parameters_[0].offset + j] = by_gamma;
      gradient[parameters_[1].offset + j] = by_beta;
      const Vec<T> mean_delta(by_beta / n), mean_product(by_gamma / n), factor(at(params, 0, j) * inverse_[j]);
      each_of_channel(blocks, j, [&](Index at) {
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

  /// Channels of a task.
  Index n_of_task() const { return n_channels_ == this->n_out() ? kFeaturesOfTask : 1; }
  /// Values that are normalised together.
  T count(std::span<const Block> blocks) const {
    return static_cast<T>(count_rows(blocks) * (this->n_out() / n_channels_));
  }

  template <class F>
  void each_channel(Index task, F&& f) const {
    const Index first = task * n_of_task(), last = std::min(n_channels_, first + n_of_task());
    for (Index j = first; j < last; ++j) f(j);
  }
  /// Calls f(feature) for each pixel of a channel.
  template <class F>
  void each_feature(Index channel, F&& f) const {
    for (Index feature = channel; feature < this->n_out(); feature += n_channels_) f(feature);
  }
  template <class F>
  void each_of_channel(std::span<const Block> blocks, Index channel, F&& f) const {
    each_feature(channel, [&](Index feature) { each_register<T>(blocks, this->n_out(), feature, f); });
  }
  /// Sums f(offset of a register) over the rows, pixel by pixel.
  template <class F>
  T sum_channel(std::span<const Block> blocks, Index channel, F&& f) const {
    T sum = 0;
    each_feature(channel, [&](Index feature) { sum += sum_rows<T>(blocks, this->n_out(), feature, f); });
    return sum;
  }

  Index n_channels_;
  Parameter parameters_[4];
  Buffer<T> inverse_, mean_;
};

}  // namespace aefast
