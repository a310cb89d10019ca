/// Max-pooling over squares of factor x factor pixels that do not overlap; the last of a line or column are smaller if
/// the factor does not divide the side. Of equal pixels the first counts, line by line.
#pragma once

#include "image.hpp"

namespace aefast {

template <class T>
class MaxPool2d final : public Layer<T> {
 public:
  MaxPool2d(const Image& in, const Image& out, Index factor)
      : Layer<T>(in.size(), out.size()), in_(in), out_(out), factor_(factor) {}

  static std::unique_ptr<Layer<T>> make(const LayerSpec& spec, const LayerContext<T>& context) {
    const Image image = checked_image(spec, context.n_in);
    const Index factor = checked_factor(spec, image);
    const Image out{n_parts(image.height, factor), n_parts(image.width, factor), image.channels};
    return std::make_unique<MaxPool2d>(image, out, factor);
  }

  void forward(const Block& block, const T*, const T* in, T* out) const override {
    squares(block.width, [&](const Square& square) {
      T* best = out + square.to;
      std::copy_n(in + square.from, square.n, best);
      each_other_pixel(square, block.width, [&](Index shift) {
        map(
            best, square.n, [](const Vec<T>& a, const Vec<T>& b) { return select(less(a, b), b, a); }, best,
            in + square.from + shift);
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
    squares(block.width, [&](const Square& square) {
      const auto pass = [&](Index shift) {
        const Index from = square.from + shift, to = square.to;
        for (Index i = 0; i < square.n; i += kLanes<T>) {
          const Vec<T> delta = Vec<T>::load(delta_out + to + i);
          const Mask<T> below = less(Vec<T>::load(in + from + i), Vec<T>::load(out + to + i));
          select(below, Vec<T>(T(0)), delta).store(delta_in + from + i);
          mask_and(below, delta).store(delta_out + to + i);
        }
      };
      pass(0);
      each_other_pixel(square, block.width, pass);
    });
  }

 private:
  struct Square {
    Index from, to;        // its first element, and that of its output, in a block
    Index n;               // elements of a pixel
    Index lines, columns;  // its pixels inside the image
  };

  template <class F>
  void squares(Index width, F&& f) const {
    for (Index y = 0; y < out_.height; ++y) {
      const Index line = y * factor_, lines = std::min(factor_, in_.height - line);
      for (Index x = 0; x < out_.width; ++x) {
        const Index column = x * factor_, columns = std::min(factor_, in_.width - column);
        f(Square{in_.at(line, column) * width, out_.at(y, x) * width, in_.channels * width, lines, columns});
      }
    }
  }

  /// Calls f(distance from the first pixel) for all other pixels of a square.
  template <class F>
  void each_other_pixel(const Square& square, Index width, F&& f) const {
    for (Index i = 1; i < square.lines * square.columns; ++i) f(in_.at(i / square.columns, i % square.columns) * width);
  }

  Image in_, out_;
  Index factor_;
};

}  // namespace aefast
