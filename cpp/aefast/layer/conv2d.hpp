/// Convolution of images and its transpose, both with a square kernel, on the product of gemm.hpp.
///
/// Rows (images) lie in the lanes, and the channels of a pixel one after the other. So one pixel of the result is a sum
/// of products, weights of a tap times the channels of the pixel there, over the taps that lie inside the image:
/// nothing is copied or padded. From large to small a kernel's line is one segment; from small to large every tap is
/// one. The transposed layer takes the second way forward and the first one back.
#pragma once

#include "activation.hpp"
#include "kernel_gradient.hpp"

namespace aefast {

enum class Padding { same, valid };

inline Padding find_padding(const std::string& name) {
  if (name == "same") return Padding::same;
  if (name == "valid") return Padding::valid;
  throw std::invalid_argument("padding must be 'same' or 'valid', not '" + name + "'");
}

/// Stride 1. "same" keeps height and width, with (size - 1) / 2 pixels outside before the first; "valid" stays inside.
Kernel convolution_kernel(const Image& in, Index channels, Index size, Padding padding);

/// The transpose of a convolution with stride `factor`. "valid" gives (n - 1) * factor + size pixels an axis. "same"
/// gives n * factor: where that is fewer, half of the others, rounded down, are left out before the first.
Kernel transposed_kernel(const Image& in, Index channels, Index size, Index factor, Padding padding);

template <class T>
class Conv2d final : public Layer<T> {
 public:
  /// From the kernel's large image to its small one or, transposed, back. Parameters are taken from `offset` of the
  /// flat vector on, which is moved past them: weights (tap, channel of the large image) by channels of the small one.
  Conv2d(const Kernel& kernel, bool transposed, const Activation<T>& activation, Index& offset);

  std::vector<Parameter> parameters() const override { return {weights_, bias_}; }
  Index work() const override;
  void forward(const Block& block, const T* params, const T* in, T* out) const override;
  void prepare(Index max_rows, const T* in, const T* delta_out) override;
  void forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>& step) override;
  void backward(const Block& block, const T* params, const T* in, const T* out, T* delta_out, T* delta_in,
                const Step<T>& step) override;
  Index n_gradient_tasks() const override { return kernel_gradient_.n_tasks() + 1; }
  void gradient(Index task, std::span<const Block> blocks, const Slice& slice, T* gradient,
                const OnGradient& finished) const override;

 private:
  const Image& out_image() const { return transposed_ ? kernel_.large : kernel_.small; }
  template <class Ready, class Finish>
  void product(bool to_large, const Block& block, const T* params, const T* in, const T* bias, T* out, Ready&& ready,
               const Finish& finish) const;
  void add_line_taps(Index y, Index x, Index width, const T* params, const T* in, SegmentList<T>& taps) const;
  void add_single_taps(Index y, Index x, Index width, const T* params, const T* in, SegmentList<T>& taps) const;

  Kernel kernel_;
  bool transposed_;
  Activation<T> activation_;
  Parameter weights_;
  Parameter bias_;

  KernelGradient<T> kernel_gradient_;
  Buffer<T> slopes_;      // of activations whose derivative the output does not give
  Buffer<T> pixel_sums_;  // gradients by the pre-activation, summed over pixels: a block by channels
};

}  // namespace aefast
