/// The gradient of a kernel: products of the pixels of two images that it joins, summed over pixels and rows.
///
/// As products of gemm.hpp they need the channels of one image in the lanes, so those are turned round, pixel by pixel,
/// while they are in cache (`PixelStrips`); the other image, the window, is read where it lies, a line of the kernel at
/// once. A window of so few channels that its products would not fill the registers (the first and last layer of grey
/// images) is treated otherwise: rows stay in the lanes, each row has its own gradient, summed up line by line of the
/// image while that is in cache, and only those are summed over rows.
///
/// No sum depends on how the rows are cut into blocks.
#pragma once

#include <span>

#include "image.hpp"

namespace aefast {

/// Pixels with their channels in the lanes: for each group of kLanes rows and each pixel a tile, row by row, cut into
/// panels of up to kWidth channels.
template <class T>
class PixelStrips {
 public:
  static constexpr Index kWidth = 2 * kLanes<T>;

  PixelStrips() = default;
  PixelStrips(const Image& image, Index max_rows)
      : image_(image),
        padded_(round_up(image.channels, kLanes<T>)),
        data_(image.n_pixels() * padded_ * round_up(max_rows, kLanes<T>)) {}

  const T* at(Index first_row, Index pixel, Index panel) const {
    const Index group = first_row / kLanes<T>;
    return data_.data() + ((group * image_.n_pixels() + pixel) * padded_ + panel * kWidth) * kLanes<T>;
  }
  /// Line `y` of the images of a block, which begin at `from`.
  void fill(const Block& block, Index y, const T* from);

 private:
  Image image_{};
  Index padded_ = 0;  // channels in whole registers
  Buffer<T> data_;
};

template <class T>
class KernelGradient {
 public:
  /// `transposed`: the layer's input is the small image.
  KernelGradient(const Kernel& kernel, bool transposed);

  /// Blocks of the layer's inputs and of the gradients by its outputs lie one after the other from `in` and `delta` on.
  void prepare(Index max_rows, const T* in, const T* delta);
  /// Each line of a block's images in turn, in forward and in backward.
  void take_input_line(const Block& block, Index y);
  void take_delta_line(const Block& block, Index y);

  Index n_tasks() const;
  void run(Index task, std::span<const Block> blocks, const Parameter& weights, T* gradient,
           const OnGradient& finished) const;

 private:
  using Strips = PixelStrips<T>;
  Index n_panels() const { return (walk_.small.channels + Strips::kWidth - 1) / Strips::kWidth; }
  Index n_channels(Index panel) const {
    return std::min(Strips::kWidth, walk_.small.channels - panel * Strips::kWidth);
  }
  const T* strips_image(const Block& block) const {
    return (strips_input_ ? in_ : delta_) + walk_.small.size() * block.first_row;
  }
  const T* window_image(const Block& block) const {
    return (strips_input_ ? delta_ : in_) + walk_.large.size() * block.first_row;
  }
  Index input_of(Index line, Index tap, Index channel) const;
  void correlate(Index line, Index panel, std::span<const Block> blocks, T* sums) const;
  void add_row_products(const Block& block, Index y);
  void sum_row_gradients(std::span<const Block> blocks, const Parameter& weights, T* gradient) const;

  Kernel kernel_;
  // The kernel as it is walked: the small image is the one in strips. With stride 1 it may be either, the kernel then
  // being mirrored.
  Kernel walk_;
  bool mirrored_;
  bool strips_input_;
  bool by_row_;
  const T* in_ = nullptr;
  const T* delta_ = nullptr;
  Strips strips_;
  Buffer<T> row_gradients_;  // blocks by (line, tap and channel of the window, channel of the strips' image)
};

}  // namespace aefast
