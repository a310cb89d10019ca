/// The code of a variational autoencoder (Kingma and Welling 2014). Its inputs are q means and q log-variances; its
/// outputs are q random draws in training, and the means in scoring.
#pragma once

#include "aefast/simd/random_fill.hpp"
#include "spec.hpp"

namespace aefast {

template <class T>
class GaussianCode final : public Layer<T> {
 public:
  explicit GaussianCode(Index n_in) : Layer<T>(n_in, n_in / 2) {}

  static std::unique_ptr<Layer<T>> make(const LayerSpec&, const LayerContext<T>& context) {
    if (context.n_in % 2 != 0) throw std::invalid_argument("a gaussian code needs means and log-variances");
    return std::make_unique<GaussianCode>(context.n_in);
  }

  void forward(const Block& block, const T*, const T* in, T* out) const override {
    std::copy_n(in, this->n_out() * block.width, out);
  }

  void prepare(Index max_rows, const T*, const T*) override {
    noise_.reset(this->n_out() * round_up(max_rows, kLanes<T>));
    divergence_.reset(round_up(max_rows, kLanes<T>));
  }

  void forward_train(const Block& block, const T*, const T* in, T* out, const Step<T>& step) override {
    const Philox philox(step.seed, Stream::code, step.epoch);
    sample(philox, step.first_position, block, in, noise_.data() + this->n_out() * block.first_row, out);
    divergence(block, in, divergence_.data() + block.first_row);
  }

  /// z = mean + exp(log_variance / 2) * noise (eq. 10); writes the noise to `noise`.
  void sample(const Philox& philox, Index first_position, const Block& block, const T* in, T* noise, T* out) const {
    const Index n = this->n_out() * block.width;
    fill_normal(philox, first_position + block.first_row, this->n_out(), block.width, noise);
    map(
        out, n,
        [](const Vec<T>& mean, const Vec<T>& l, const Vec<T>& e) {
          return fma(exp(Vec<T>(T(0.5)) * inside(l)), e, mean);
        },
        in, in + n, noise);
  }

  /// The divergence of each row from the standard normal, summed over the code (appendix B).
  void divergence(const Block& block, const T* in, T* to) const {
    const Index n = this->n_out() * block.width;
    for (Index lane = 0; lane < block.width; lane += kLanes<T>) {
      Vec<T> total(T(0));
      for (Index at = lane; at < n; at += block.width) {
        const Vec<T> mean = Vec<T>::load(in + at), l = inside(Vec<T>::load(in + n + at));
        total = total + (expm1(l) - l + mean * mean);
      }
      (total * Vec<T>(T(0.5))).store(to + lane);
    }
  }

  void add_row_losses(const Block& block, T beta, T* row_loss) const override {
    map(
        row_loss, block.width, [beta](const Vec<T>& r, const Vec<T>& d) { return fma(Vec<T>(beta), d, r); }, row_loss,
        divergence_.data() + block.first_row);
  }

  void backward(const Block& block, const T*, const T* in, const T*, T* delta_out, T* delta_in,
                const Step<T>& step) override {
    if (!delta_in) return;
    const Index n = this->n_out() * block.width;
    const T* noise = noise_.data() + this->n_out() * block.first_row;
    const Vec<T> beta(step.beta), half(T(0.5));
    for (Index at = 0; at < n; at += kLanes<T>) {
      const Vec<T> weight = beta * Vec<T>::load(step.row_weight + block.first_row + at % block.width);
      const Vec<T> delta = Vec<T>::load(delta_out + at), l = inside(Vec<T>::load(in + n + at));
      const Vec<T> spread = exp(half * l) * Vec<T>::load(noise + at);
      fma(weight, Vec<T>::load(in + at), delta).store(delta_in + at);
      (half * fma(weight, expm1(l), delta * spread)).store(delta_in + n + at);
    }
  }

 private:
  /// Log-variances clipped to [-20, 20], which keeps results finite; the gradient of the divergence still pulls them
  /// back.
  static Vec<T> inside(const Vec<T>& l) { return max(min(l, Vec<T>(T(20))), Vec<T>(T(-20))); }

  Buffer<T> noise_;       // of the last forward_train
  Buffer<T> divergence_;  // of each row in the last forward_train
};

}  // namespace aefast
