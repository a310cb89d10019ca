/// Convolution of images and its transpose, both with a square kernel, by the product of gemm.hpp.
///
/// Rows (images) lie in the lanes, and the channels of a pixel follow each other. So one pixel of the result is a sum
/// of products over the taps that lie inside the image: the weights of a tap times the channels of the pixel there. No
/// patch is copied, no border padded. From the large image to the small one, a line of the kernel is one product; from
/// small to large, every tap is one. A convolution computes large to small forward and small to large backward, its
/// transpose the reverse.
#pragma once

#include "kernel_gradient.hpp"

namespace aefast {

enum class Padding { same, valid };

inline Padding find_padding(const std::string& name) {
  if (name == "same") return Padding::same;
  if (name == "valid") return Padding::valid;
  throw std::invalid_argument("padding must be 'same' or 'valid', not '" + name + "'");
}

/// The kernel of a convolution, whose output is the image divided by `stride`, rounded up. "same": max(0, size -
/// stride) / 2 taps lie outside before the first pixel. "valid": no tap lies outside, which first costs size - 1 pixels
/// per axis.
Kernel convolution_kernel(const Image& in, Index channels, Index size, Index stride, Padding padding);

/// The kernel of the transpose of a convolution with stride `factor`. "valid" gives (n - 1) * factor + size pixels per
/// axis, "same" n * factor. If "same" gives fewer, half of the others, rounded down, are left out before the first.
Kernel transposed_kernel(const Image& in, Index channels, Index size, Index factor, Padding padding);

template <class T>
class Conv2d final : public Layer<T> {
 public:
  /// Maps the kernel's large image to its small one or, if `transposed`, the small one to the large one. The parameters
  /// begin at `offset` of the flat vector, which is moved past them: weights (tap, channel of the large image) by
  /// channels of the small image, then biases.
  Conv2d(const Kernel& kernel, bool transposed, const Activation<T>& activation, Index& offset);

  static std::unique_ptr<Layer<T>> make(const LayerSpec& spec, const LayerContext<T>& context);
  static std::unique_ptr<Layer<T>> make_transposed(const LayerSpec& spec, const LayerContext<T>& context);

  std::vector<Parameter> parameters() const override { return {weights_, bias_}; }
  Index n_channels() const override { return out_image().channels; }
  Index work() const override;
  void forward(const Block& block, const T* params, const T* in, T* out) const override;
  void prepare(Index max_rows, const T* in, const T* delta_out) override;
  void forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>& step) override;
  void backward(const Block& block, const T* params, const T* in, const T* out, T* delta_out, T* delta_in,
                const Step<T>& step) override;
  Index n_gradient_tasks() const override { return kernel_gradient_.n_tasks() + 1; }
  void gradient(Index task, std::span<const Block> blocks, const Slice& slice, T* gradient,
                const OnGradient& on_gradient) const override;

 private:
  const Image& out_image() const { return transposed_ ? kernel_.large : kernel_.small; }
  template <class Ready, class Finish>
  void product(bool to_large, const Block& block, const T* params, const T* in, const T* bias, T* out, Ready&& ready,
               const Finish& finish) const;
  void add_line_taps(Index y, Index x, Index width, const T* params, const T* in, ProductList<T>& taps) const;
  void add_single_taps(Index y, Index x, Index width, const T* params, const T* in, ProductList<T>& taps) const;

  Kernel kernel_;
  bool transposed_;
  Activation<T> activation_;
  Parameter weights_;
  Parameter bias_;

  KernelGradient<T> kernel_gradient_;
  Buffer<T> slopes_;      // of activations whose derivative needs the input
  Buffer<T> pixel_sums_;  // gradients by the pre-activation, summed over pixels: blocks of channels
};

}  // namespace aefast
