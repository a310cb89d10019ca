/// Images as rows of features, (y, x, channel) with the channel running fastest, and what a square kernel joins in
/// them.
#pragma once

#include <stdexcept>
#include <string>

#include "layer.hpp"

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

/// Whole numbers from `first` to before `last`.
struct Range {
  Index first;
  Index last;
};

/// A square kernel of `size` x `size` taps between a small image and a large one: along each axis, pixel s of the small
/// image meets pixel s * stride - before + tap of the large one, where there is such a pixel.
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

}  // namespace aefast
