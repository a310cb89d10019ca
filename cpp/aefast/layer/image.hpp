/// Images as rows of features, in the order (y, x, channel) with the channel fastest, and the pixels that a square
/// kernel connects.
#pragma once

#include <string>

#include "spec.hpp"

namespace aefast {

struct Image {
  Index height;
  Index width;
  Index channels;

  Index n_pixels() const { return height * width; }
  Index size() const { return n_pixels() * channels; }
  /// The first feature of a pixel.
  Index at(Index y, Index x) const { return (y * width + x) * channels; }
  std::string text() const {
    return std::to_string(height) + " x " + std::to_string(width) + " x " + std::to_string(channels);
  }
};

/// The parts of `size` elements, the last of which may be smaller, that make up `n` elements, at least 1.
inline Index n_parts(Index n, Index size) { return (n - 1) / size + 1; }

/// The integers in [first, last).
struct Range {
  Index first;
  Index last;
};

/// A square kernel of `size` x `size` taps between a small image and a large one: along each axis, pixel s of the small
/// image meets pixel s * stride - before + tap of the large one, if that exists.
struct Kernel {
  Image small;
  Image large;
  Index size;
  Index stride;
  Index before;

  /// The taps at which pixel `s` of the small image meets one of the `n_large` pixels of an axis.
  Range taps(Index s, Index n_large) const {
    const Index first = s * stride - before;
    return {std::max<Index>(0, -first), std::min(size, n_large - first)};
  }
  /// The pixels of the small image that meet one of the large at `tap`.
  Range pixels(Index tap, Index n_small, Index n_large) const {
    const Index shift = before - tap;
    const Index first = shift <= 0 ? 0 : (shift + stride - 1) / stride;
    const Index last = n_large - 1 + shift < 0 ? 0 : (n_large - 1 + shift) / stride + 1;
    return {std::min(first, n_small), std::min(last, n_small)};
  }
};

/// The image that comes into the layer. Throws if the description does not fit it, or has what no layer of images
/// takes.
inline Image checked_image(const LayerSpec& spec, Index n_in) {
  const std::vector<Index> sizes = spec.sizes("image");
  const Image image = sizes.size() == 3 ? Image{sizes[0], sizes[1], sizes[2]} : Image{};
  const Index least = std::min({image.height, image.width, image.channels});
  if (least < 1) throw std::invalid_argument(spec.needs("an image with sides and channels", least));
  check_size("an image", {image.height, image.width, image.channels});
  if (image.size() != n_in) {
    throw std::invalid_argument("an image of " + image.text() + " does not fit " + std::to_string(n_in) + " features");
  }
  if (spec.count("tied_to", -1) >= 0) throw std::invalid_argument(spec.kind() + " takes no ties");
  return image;
}

/// The image of a layer that multiplies height and width by `factor`. The description's `output`, if it has one, gives
/// height and width; up to factor - 1 lines and columns are then left out at the end.
inline Image checked_output(const LayerSpec& spec, const Image& whole, Index factor) {
  const std::vector<Index> sides = spec.sizes("output");
  if (sides.empty()) return whole;
  const auto fits = [factor](Index side, Index all) { return side > std::max<Index>(0, all - factor) && side <= all; };
  if (sides.size() != 2 || !fits(sides[0], whole.height) || !fits(sides[1], whole.width)) {
    throw std::invalid_argument("the output of " + spec.kind() + " cannot be cut from an image of " + whole.text());
  }
  return {sides[0], sides[1], whole.channels};
}

/// The factor by which a layer makes an image larger or smaller.
inline Index checked_factor(const LayerSpec& spec, const Image& image) {
  const Index factor = spec.at_least_one("factor", "a factor");
  check_size("an image", {image.size(), factor, factor, std::max<Index>(1, spec.count("channels"))});
  return factor;
}

}  // namespace aefast
