/// Nearest-neighbour upsampling: every pixel becomes a square of factor x factor equal pixels, of which the last may be
/// cut off.
#pragma once

#include "image.hpp"

namespace aefast {

template <class T>
class Upsample2d final : public Layer<T> {
 public:
  Upsample2d(const Image& in, const Image& out, Index factor)
      : Layer<T>(in.size(), out.size()), in_(in), out_(out), factor_(factor) {}

  static std::unique_ptr<Layer<T>> make(const LayerSpec& spec, const LayerContext<T>& context) {
    const Image image = checked_image(spec, context.n_in);
    const Index factor = checked_factor(spec, image);
    const Image whole{image.height * factor, image.width * factor, image.channels};
    return std::make_unique<Upsample2d>(image, checked_output(spec, whole, factor), factor);
  }

  void forward(const Block& block, const T*, const T* in, T* out) const override {
    each_pair(block.width, [&](Index from, Index to, Index n, bool) { std::copy_n(in + from, n, out + to); });
  }

  void forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>&) override {
    forward(block, params, in, out);
  }

  void backward(const Block& block, const T*, const T*, const T*, T* delta_out, T* delta_in, const Step<T>&) override {
    if (!delta_in) return;
    const auto add = [](const Vec<T>& a, const Vec<T>& b) { return a + b; };
    each_pair(block.width, [&](Index from, Index to, Index n, bool is_first) {
      if (is_first) std::copy_n(delta_out + to, n, delta_in + from);
      else map(delta_in + from, n, add, delta_in + from, delta_out + to);
    });
  }

 private:
  /// Calls f(first element of a pixel, first element of a copy, elements of a pixel, true for the first copy); elements
  /// are a block's.
  template <class F>
  void each_pair(Index width, F&& f) const {
    for (Index y = 0; y < out_.height; ++y) {
      for (Index x = 0; x < out_.width; ++x) {
        const bool is_first = y % factor_ == 0 && x % factor_ == 0;
        f(in_.at(y / factor_, x / factor_) * width, out_.at(y, x) * width, in_.channels * width, is_first);
      }
    }
  }

  Image in_, out_;
  Index factor_;
};

}  // namespace aefast
