/// Max-pooling over squares of factor x factor pixels that do not overlap. Of equal pixels the first counts, line by
/// line.
#pragma once

#include "image.hpp"

namespace aefast {

template <class T>
class MaxPool2d final : public Layer<T> {
 public:
  MaxPool2d(const Image& in, Index factor)
      : Layer<T>(in.size(), in.size() / (factor * factor)),
        in_(in),
        out_{in.height / factor, in.width / factor, in.channels},
        factor_(factor) {
    if (in.height % factor != 0 || in.width % factor != 0) {
      throw std::invalid_argument("pooling by " + std::to_string(factor) + " does not divide an image of " + in.text());
    }
  }

  static std::unique_ptr<Layer<T>> make(const LayerSpec& spec, const LayerContext<T>& context) {
    const Image image = checked_image(spec, context.n_in);
    return std::make_unique<MaxPool2d>(image, checked_factor(spec, image));
  }

  void forward(const Block& block, const T*, const T* in, T* out) const override {
    squares(block.width, [&](Index from, Index to, Index n) {
      std::copy_n(in + from, n, out + to);
      each_other_pixel(block.width, [&](Index shift) {
        map(
            out + to, n, [](const Vec<T>& best, const Vec<T>& x) { return select(less(best, x), x, best); }, out + to,
            in + from + shift);
      });
    });
  }

  void forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>&) override {
    forward(block, params, in, out);
  }

  /// The first pixel that is not below the maximum gets the whole gradient.
  void backward(const Block& block, const T*, const T* in, const T* out, T* delta_out, T* delta_in,
                const Step<T>&) override {
    if (!delta_in) return;
    squares(block.width, [&](Index from, Index to, Index n) {
      const auto pass = [&](Index shift) {
        for (Index i = 0; i < n; i += kLanes<T>) {
          const Vec<T> delta = Vec<T>::load(delta_out + to + i);
          const Mask<T> below = less(Vec<T>::load(in + from + shift + i), Vec<T>::load(out + to + i));
          select(below, Vec<T>(T(0)), delta).store(delta_in + from + shift + i);
          mask_and(below, delta).store(delta_out + to + i);
        }
      };
      pass(0);
      each_other_pixel(block.width, pass);
    });
  }

 private:
  /// Calls f(first element of a square, first element of its output, elements of a pixel); elements are a block's.
  template <class F>
  void squares(Index width, F&& f) const {
    for (Index y = 0; y < out_.height; ++y) {
      for (Index x = 0; x < out_.width; ++x) {
        f(in_.at(y * factor_, x * factor_) * width, out_.at(y, x) * width, in_.channels * width);
      }
    }
  }

  /// Calls f(distance from the first pixel) for all other pixels of a square.
  template <class F>
  void each_other_pixel(Index width, F&& f) const {
    for (Index i = 1; i < factor_ * factor_; ++i) f(in_.at(i / factor_, i % factor_) * width);
  }

  Image in_, out_;
  Index factor_;
};

}  // namespace aefast
