/// The gradient of a kernel: products of the pixels of two images that the kernel connects, summed over pixels and
/// rows.
///
/// The product of gemm.hpp needs the channels of one image in the lanes. So that image, the packed one, is transposed
/// pixel by pixel while it is in cache (`PixelPanels`). The other image, the window, is read in place, one line of the
/// kernel at a time.
///
/// If the window has so few channels that its products would not fill the registers (the first and last layer of grey
/// images), rows stay in the lanes: each row has a gradient of its own, summed line by line of the image while that is
/// in cache, and these gradients are summed over rows.
///
/// No sum depends on how rows are cut into blocks.
#pragma once

#include <span>

#include "image.hpp"

namespace aefast {

/// Pixels with their channels in the lanes: for every kLanes rows and every pixel a matrix of rows x channels, cut into
/// panels of up to kWidth channels.
template <class T>
class PixelPanels {
 public:
  static constexpr Index kWidth = 2 * kLanes<T>;

  PixelPanels() = default;
  PixelPanels(const Image& image, Index max_rows)
      : image_(image),
        padded_(round_up(image.channels, kLanes<T>)),
        data_(image.n_pixels() * padded_ * round_up(max_rows, kLanes<T>)) {}

  const T* at(Index first_row, Index pixel, Index panel) const {
    const Index rows_before = first_row / kLanes<T>;  // in registers
    return data_.data() + ((rows_before * image_.n_pixels() + pixel) * padded_ + panel * kWidth) * kLanes<T>;
  }
  /// Packs line `y` of the images of a block; `from` is the first element of the block.
  void fill(const Block& block, Index y, const T* from);

 private:
  Image image_{};
  Index padded_ = 0;  // channels in whole registers
  Buffer<T> data_;
};

template <class T>
class KernelGradient {
 public:
  /// `transposed` is true if the layer's input is the small image.
  KernelGradient(const Kernel& kernel, bool transposed);

  /// The blocks of inputs and of gradients by outputs will be stored one after the other from `in` and `delta` on.
  void prepare(Index max_rows, const T* in, const T* delta);
  /// Takes each line of a block's images in turn, of the inputs in forward and of the deltas in backward.
  void take_input_line(const Block& block, Index y);
  void take_delta_line(const Block& block, Index y);

  Index n_tasks() const;
  void run(Index task, std::span<const Block> blocks, const Parameter& weights, T* gradient,
           const OnGradient& on_gradient) const;

 private:
  using Panels = PixelPanels<T>;
  Index n_panels() const { return (walk_.small.channels + Panels::kWidth - 1) / Panels::kWidth; }
  Index n_channels(Index panel) const {
    return std::min(Panels::kWidth, walk_.small.channels - panel * Panels::kWidth);
  }
  const T* packed_image(const Block& block) const {
    return (packs_input_ ? in_ : delta_) + walk_.small.size() * block.first_row;
  }
  const T* window_image(const Block& block) const {
    return (packs_input_ ? delta_ : in_) + walk_.large.size() * block.first_row;
  }
  Index input_of(Index line, Index tap, Index channel) const;
  void correlate(Index line, Index panel, std::span<const Block> blocks, T* sums) const;
  void add_row_products(const Block& block, Index y);
  void sum_row_gradients(std::span<const Block> blocks, const Parameter& weights, T* gradient) const;

  Kernel kernel_;
  // The kernel with the packed image as the small one. With stride 1 either image can be packed; if it is the large
  // one, the kernel is mirrored.
  Kernel walk_;
  bool mirrored_;
  bool packs_input_;
  bool by_row_;
  const T* in_ = nullptr;
  const T* delta_ = nullptr;
  Panels panels_;
  Buffer<T> row_gradients_;  // blocks by (line, tap, channel of the window, channel of the packed image)
};

}  // namespace aefast
