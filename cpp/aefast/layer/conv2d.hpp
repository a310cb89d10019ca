/// Convolution of images and its transpose, both with a square kernel, on the product of gemm.hpp.
///
/// Rows (images) lie in the lanes, and the channels of a pixel one after the other. So one pixel of the result is a sum
/// of products, weights of a tap times the channels of the pixel there, over the taps that lie inside the image:
/// nothing is copied or padded. From large to small a kernel's line is one segment; from small to large every tap is
/// one. The transposed layer takes the second way forward and the first one back.
///
/// Gradients of weights sum over pixels and rows. There the channels of one of the two images are turned into the
/// lanes, pixel by pixel, while those are in cache (`PixelStrips`); the other's are read where they lie, a kernel's
/// line at once.
#pragma once

#include "../activation.hpp"
#include "image.hpp"

namespace aefast {

enum class Padding { same, valid };

inline Padding find_padding(const std::string& name) {
  if (name == "same") return Padding::same;
  if (name == "valid") return Padding::valid;
  throw std::invalid_argument("padding must be 'same' or 'valid', not '" + name + "'");
}

/// Stride 1. "same" keeps height and width, with (size - 1) / 2 pixels outside before the first; "valid" stays inside.
Kernel convolution_kernel(const Image& in, Index channels, Index size, Padding padding);

/// The transpose of a convolution with stride `factor`. "valid" gives (n - 1) * factor + size pixels an axis; "same" n
/// * factor, leaving out (size - factor) / 2 of those before the first, where that is positive, and the rest after the
/// last.
Kernel transposed_kernel(const Image& in, Index channels, Index size, Index factor, Padding padding);

/// Pixels with their channels in the lanes: for each group of kLanes rows and each pixel a tile, row by row, cut into
/// panels of up to kWidth channels. Groups do not depend on how the rows are cut into blocks.
template <class T>
class PixelStrips {
 public:
  static constexpr Index kWidth = 2 * kLanes<T>;

  PixelStrips() = default;
  PixelStrips(const Image& image, Index max_rows)
      : image_(image),
        padded_(round_up(image.channels, kLanes<T>)),
        data_(image.n_pixels() * padded_ * round_up(max_rows, kLanes<T>)) {}

  Index n_panels() const { return (image_.channels + kWidth - 1) / kWidth; }
  /// Channels in a panel, and the same in whole registers.
  Index n_channels(Index panel) const { return std::min(kWidth, image_.channels - panel * kWidth); }
  Index width(Index panel) const { return round_up(n_channels(panel), kLanes<T>); }
  /// Bytes of one pixel of a group.
  Index pixel_bytes() const { return padded_ * kLanes<T> * static_cast<Index>(sizeof(T)); }
  const T* at(Index first_row, Index pixel, Index panel) const {
    return data_.data() + (first_row / kLanes<T> * image_.n_pixels() + pixel) * padded_ * kLanes<T> +
           panel * kWidth * kLanes<T>;
  }
  /// Line `y` of the images of a block, which begin at `from`.
  void fill(const Block& block, Index y, const T* from);

 private:
  Image image_{};
  Index padded_ = 0;
  Buffer<T> data_;
};

template <class T>
class Conv2d final : public Layer<T> {
 public:
  /// From the kernel's large image to its small one or, transposed, the other way. Parameters are taken from `offset`
  /// of the flat vector on, which is moved past them: weights (tap, channel of the large image; channel of the small
  /// one).
  Conv2d(const Kernel& kernel, bool transposed, const Activation<T>& activation, Index& offset);

  std::vector<Parameter> parameters() const override { return {weights_, bias_}; }
  Index work() const override;
  void forward(const Block& block, const T* params, const T* in, T* out) const override;
  void prepare(Index max_rows, const T* in, const T* delta_out) override;
  void forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>& step) override;
  void backward(const Block& block, const T* params, const T* in, const T* out, T* delta_out, T* delta_in,
                const Step<T>& step) override;
  Index n_gradient_tasks() const override;
  void gradient(Index task, std::span<const Block> blocks, T* gradient, const Finished& finished) const override;

 private:
  const Image& in_image() const { return transposed_ ? kernel_.small : kernel_.large; }
  const Image& out_image() const { return transposed_ ? kernel_.large : kernel_.small; }
  template <class Ready, class Finish>
  void product(bool to_large, const Block& block, const T* params, const T* in, const T* bias, T* out, Ready&& ready,
               Finish finish) const;
  void add_line_taps(Index y, Index x, Index width, const T* params, const T* in, SegmentList<T>& taps) const;
  void add_single_taps(Index y, Index x, Index width, const T* params, const T* in, SegmentList<T>& taps) const;
  void correlate(Index line, Index panel, std::span<const Block> blocks, T* sums) const;
  void bias_gradient(std::span<const Block> blocks, T* gradient) const;

  Kernel kernel_;
  bool transposed_;
  Activation<T> activation_;
  Parameter weights_;
  Parameter bias_;

  // The kernel as the gradient of the weights walks it: the small image is the one in strips. With stride 1 either may
  // be, and a mirrored kernel then takes the small one for the large.
  Kernel walk_;
  bool mirrored_;
  bool strips_input_;
  PixelStrips<T> strips_;
  const T* window_ = nullptr;  // the other image, in blocks
  Buffer<T> slopes_;           // of activations whose derivative the output does not give
  Buffer<T> pixel_sums_;       // gradients by the pre-activation, summed over pixels: a block by channels
};

}  // namespace aefast
