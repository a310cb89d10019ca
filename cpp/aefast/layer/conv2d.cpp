#include "conv2d.hpp"

namespace aefast {
namespace {

// What a gradient task reads again and again: a part of L2.
constexpr Index kBandBytes = 200 * 1024;

/// The better walk for gradients: less of a register empty, then more channels in the lanes.
bool mirror_is_better(const Kernel& kernel, Index lanes) {
  if (kernel.stride != 1) return false;
  const Index small = kernel.small.channels, large = kernel.large.channels;
  const Index cost = large * round_up(small, lanes), mirrored_cost = small * round_up(large, lanes);
  return mirrored_cost < cost || (mirrored_cost == cost && large > small);
}

}  // namespace

Kernel convolution_kernel(const Image& in, Index channels, Index size, Padding padding) {
  if (padding == Padding::same) return {{in.height, in.width, channels}, in, size, 1, (size - 1) / 2};
  if (size > in.height || size > in.width) {
    throw std::invalid_argument("a kernel of " + std::to_string(size) +
                                " with valid padding does not fit an image of " + in.text());
  }
  return {{in.height - size + 1, in.width - size + 1, channels}, in, size, 1, 0};
}

Kernel transposed_kernel(const Image& in, Index channels, Index size, Index factor, Padding padding) {
  if (padding == Padding::same) {
    return {in, {in.height * factor, in.width * factor, channels}, size, factor, std::max<Index>(0, size - factor) / 2};
  }
  return {in, {(in.height - 1) * factor + size, (in.width - 1) * factor + size, channels}, size, factor, 0};
}

template <class T>
void PixelStrips<T>::fill(const Block& block, Index y, const T* from) {
  constexpr Index n = kLanes<T>;
  for (Index row = 0; row < block.width; row += n) {
    for (Index x = 0; x < image_.width; ++x) {
      const T* pixel = from + image_.at(y, x) * block.width + row;
      for (Index first = 0; first < padded_; first += n) {
        const Index panel = first / kWidth;
        T* to = const_cast<T*>(at(block.first_row + row, y * image_.width + x, panel)) + first % kWidth;
        const Index n_valid = std::min(n, image_.channels - first);
        const T* channels = pixel + first * block.width;
        if (n_valid == n) {
          transpose_square(channels, block.width, to, width(panel));
          continue;
        }
        alignas(kAlignment) T square[n * n] = {};
        for (Index i = 0; i < n_valid; ++i) Vec<T>::load(channels + i * block.width).store(square + i * n);
        transpose_square(square, n, to, width(panel));
      }
    }
  }
}

template <class T>
Conv2d<T>::Conv2d(const Kernel& kernel, bool transposed, const Activation<T>& activation, Index& offset)
    : Layer<T>(transposed ? kernel.small.size() : kernel.large.size(),
               transposed ? kernel.large.size() : kernel.small.size()),
      kernel_(kernel),
      transposed_(transposed),
      activation_(activation),
      walk_(kernel),
      mirrored_(mirror_is_better(kernel, kLanes<T>)),
      strips_input_(transposed != mirrored_) {
  const Index line = kernel.size * kernel.large.channels;
  weights_ = {offset, kernel.small.channels, kernel.size * line, true, false, line};
  offset += weights_.template size<T>();
  bias_ = {offset, 1, out_image().channels, false};
  offset += bias_.template size<T>();
  if (mirrored_) walk_ = {kernel.large, kernel.small, kernel.size, 1, kernel.size - 1 - kernel.before};
}

template <class T>
Index Conv2d<T>::work() const {
  return kernel_.small.size() * kernel_.size * kernel_.size * kernel_.large.channels;
}

/// The pixel (y, x) of the small image: line by line of the kernel, all its taps that lie inside the large one.
template <class T>
void Conv2d<T>::add_line_taps(Index y, Index x, Index width, const T* params, const T* in, SegmentList<T>& taps) const {
  const Image& large = kernel_.large;
  const Range lines = kernel_.taps(y, large.height), columns = kernel_.taps(x, large.width);
  const Index stride = weights_.template strip_width<T>(0);
  for (Index line = lines.first; line < lines.last; ++line) {
    const Index tap = line * kernel_.size + columns.first;
    const Index pixel =
        large.at(y * kernel_.stride - kernel_.before + line, x * kernel_.stride - kernel_.before + columns.first);
    taps.add({params + weights_.template at<T>(0, tap * large.channels), in + pixel * width,
              (columns.last - columns.first) * large.channels, stride, 1});
  }
}

/// The pixel (y, x) of the large image: every tap at which one of the small image meets it.
template <class T>
void Conv2d<T>::add_single_taps(Index y, Index x, Index width, const T* params, const T* in,
                                SegmentList<T>& taps) const {
  const Image& small = kernel_.small;
  const Index stride = weights_.template strip_width<T>(0);
  const auto each_tap = [this](Index large, Index n_small, auto&& f) {
    const Index shifted = large + kernel_.before;
    for (Index tap = shifted % kernel_.stride; tap < kernel_.size && tap <= shifted; tap += kernel_.stride) {
      const Index s = (shifted - tap) / kernel_.stride;
      if (s < n_small) f(tap, s);
    }
  };
  each_tap(y, small.height, [&](Index line, Index small_y) {
    each_tap(x, small.width, [&](Index column, Index small_x) {
      const Index tap = line * kernel_.size + column;
      taps.add({params + weights_.template at<T>(0, tap * kernel_.large.channels),
                in + small.at(small_y, small_x) * width, small.channels, 1, stride});
    });
  });
}

/// out = kernel in + bias, line by line; `ready` is called with each line of `in` in turn, soon before it is read, and
/// `finish` as in `multiply`.
template <class T>
template <class Ready, class Finish>
void Conv2d<T>::product(bool to_large, const Block& block, const T* params, const T* in, const T* bias, T* out,
                        Ready&& ready, Finish finish) const {
  const Image& from = to_large ? kernel_.small : kernel_.large;
  const Image& to = to_large ? kernel_.large : kernel_.small;
  SegmentList<T> taps(kernel_.size * kernel_.size);
  Index n_ready = 0;
  for (Index y = 0; y < to.height; ++y) {
    const Index last =
        to_large ? (y + kernel_.before) / kernel_.stride + 1 : y * kernel_.stride - kernel_.before + kernel_.size;
    for (; n_ready < std::min(last, from.height); ++n_ready) ready(n_ready);
    for (Index x = 0; x < to.width; ++x) {
      taps.clear();
      if (to_large) add_single_taps(y, x, block.width, params, in, taps);
      else add_line_taps(y, x, block.width, params, in, taps);
      multiply<T>(to.channels, block.width, taps.all(), bias, out + to.at(y, x) * block.width, finish);
    }
  }
  for (; n_ready < from.height; ++n_ready) ready(n_ready);
}

template <class T>
void Conv2d<T>::forward(const Block& block, const T* params, const T* in, T* out) const {
  const auto activate = [this](T* z, Index n) {
    if (activation_.forward) activation_.forward(z, n);
  };
  product(transposed_, block, params, in, params + bias_.offset, out, [](Index) {}, activate);
}

template <class T>
void Conv2d<T>::prepare(Index max_rows, const T* in, const T* delta_out) {
  const Index padded = round_up(max_rows, kLanes<T>);
  strips_ = PixelStrips<T>(walk_.small, max_rows);
  window_ = strips_input_ ? delta_out : in;
  pixel_sums_.reset(out_image().channels * padded);
  if (activation_.keeps_slopes()) slopes_.reset(this->n_out() * padded);
}

template <class T>
void Conv2d<T>::forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>&) {
  const auto ready = [&](Index y) {
    if (strips_input_) strips_.fill(block, y, in);
  };
  T* slopes = slopes_.data() + (activation_.keeps_slopes() ? this->n_out() * block.first_row : 0);
  const auto activate = [&](T* z, Index n) {
    if (activation_.keeps_slopes()) activation_.forward_keep(z, slopes + (z - out), n);
    else if (activation_.forward) activation_.forward(z, n);
  };
  product(transposed_, block, params, in, params + bias_.offset, out, ready, activate);
}

template <class T>
void Conv2d<T>::backward(const Block& block, const T* params, const T*, const T* out, T* delta_out, T* delta_in,
                         const Step<T>&) {
  const Image& image = out_image();
  const T* kept = activation_.keeps_slopes() ? slopes_.data() + this->n_out() * block.first_row : out;
  const Index pixel = image.channels * block.width;
  T* sums = pixel_sums_.data() + image.channels * block.first_row;
  std::fill_n(sums, pixel, T(0));
  const auto ready = [&](Index y) {
    const Index first = image.at(y, 0) * block.width;
    if (activation_.backward) activation_.backward(delta_out + first, kept + first, image.width * pixel);
    for (Index x = 0; x < image.width; ++x) {
      map(sums, pixel, [](const Vec<T>& a, const Vec<T>& b) { return a + b; }, sums, delta_out + first + x * pixel);
    }
    if (!strips_input_) strips_.fill(block, y, delta_out);
  };
  if (delta_in) return product(!transposed_, block, params, delta_out, nullptr, delta_in, ready, Nothing{});
  for (Index y = 0; y < image.height; ++y) ready(y);
}

/// A task a panel of channels and line of the kernel, as they lie together in the weights; the last is the biases'.
template <class T>
Index Conv2d<T>::n_gradient_tasks() const {
  return kernel_.size * (mirrored_ ? 1 : strips_.n_panels()) + 1;
}

template <class T>
void Conv2d<T>::gradient(Index task, std::span<const Block> blocks, T* gradient, const Finished& finished) const {
  if (task + 1 == n_gradient_tasks()) {
    bias_gradient(blocks, gradient);
    return finished(bias_.offset, bias_.template size<T>(), false);
  }
  const Index size = kernel_.size, n_small = kernel_.small.channels, n_large = kernel_.large.channels;
  const Index line = task % size, first_input = line * size * n_large;
  const Index line_stride = weights_.template strip_width<T>(first_input);
  Buffer<T> sums(size * walk_.large.channels * PixelStrips<T>::kWidth);
  if (mirrored_) {
    for (Index panel = 0; panel < strips_.n_panels(); ++panel) {
      correlate(size - 1 - line, panel, blocks, sums.data());
      const T* from = sums.data();
      for (Index tap = size - 1; tap >= 0; --tap) {
        for (Index output = 0; output < n_small; ++output, from += strips_.width(panel)) {
          const Index input = first_input + tap * n_large + panel * PixelStrips<T>::kWidth;
          std::copy_n(from, strips_.n_channels(panel), gradient + weights_.template at<T>(output, input));
        }
      }
    }
    return finished(weights_.template at<T>(0, first_input), n_small * line_stride, true);
  }
  const Index panel = task / size, first = panel * PixelStrips<T>::kWidth, width = strips_.width(panel);
  correlate(line, panel, blocks, sums.data());
  for (Index i = 0; i < strips_.n_channels(panel); ++i) {
    T* to = gradient + weights_.template at<T>(first + i, first_input);
    for (Index j = 0; j < size * n_large; ++j) to[j] = sums[j * width + i];
  }
  finished(weights_.template at<T>(first, first_input), strips_.n_channels(panel) * line_stride, true);
}

/// sums ((tap of the kernel's line, channel of the window) x panel) = the products of window and strips, summed over
/// pixels and rows: in parts that fit in cache and do not depend on the blocks, then over the parts.
template <class T>
void Conv2d<T>::correlate(Index line, Index panel, std::span<const Block> blocks, T* sums) const {
  const Image &strips = walk_.small, &window = walk_.large;
  const Index width = strips_.width(panel);
  Buffer<T> part(walk_.size * window.channels * width);
  std::fill_n(sums, part.size(), T(0));

  const Range lines = walk_.pixels(line, strips.height, window.height);
  const Index last_full = walk_.pixels(walk_.size - 1, strips.width, window.width).last;
  const Range full{std::min(last_full, walk_.pixels(0, strips.width, window.width).first), last_full};
  const Index line_bytes =
      strips.width * (strips_.pixel_bytes() + window.channels * static_cast<Index>(sizeof(T)) * kLanes<T>);
  const Index band = std::max<Index>(1, kBandBytes / line_bytes);

  std::vector<Segment<T>> pixels;
  for (const Block& block : blocks) {
    const T* images = window_ + window.size() * block.first_row;
    for (Index row = 0; row < block.n_rows; row += kLanes<T>) {
      const Index n_rows = std::min(kLanes<T>, block.n_rows - row);
      for (Index first = lines.first; first < lines.last; first += band) {
        const auto add = [&](const Range& columns, const Range& taps) {
          pixels.clear();
          for (Index y = first; y < std::min(lines.last, first + band); ++y) {
            for (Index x = columns.first; x < columns.last; ++x) {
              const Index at =
                  window.at(y * walk_.stride - walk_.before + line, x * walk_.stride - walk_.before + taps.first);
              pixels.push_back({images + at * block.width + row,
                                strips_.at(block.first_row + row, y * strips.width + x, panel), n_rows, block.width,
                                1});
            }
          }
          T* to = sums + taps.first * window.channels * width;
          const auto add_part = [&](const T* z, Index n) {
            T* sum = to + (z - part.data());
            map(sum, n, [](const Vec<T>& a, const Vec<T>& b) { return a + b; }, sum, z);
          };
          multiply<T>((taps.last - taps.first) * window.channels, width, pixels, nullptr, part.data(), add_part);
        };
        if (full.first < full.last) add(full, {0, walk_.size});
        for (Index x = 0; x < strips.width; ++x) {
          if (x < full.first || x >= full.last) add({x, x + 1}, walk_.taps(x, window.width));
        }
      }
    }
  }
}

/// Rows are summed lane by lane, then across, then those that fill no register: the same order for any blocks.
template <class T>
void Conv2d<T>::bias_gradient(std::span<const Block> blocks, T* gradient) const {
  const Index n = out_image().channels;
  for (Index channel = 0; channel < n; ++channel) {
    Vec<T> lanes(T(0));
    T rest(0);
    for (const Block& block : blocks) {
      const T* sums = pixel_sums_.data() + n * block.first_row + channel * block.width;
      const Index whole = block.n_rows / kLanes<T> * kLanes<T>;
      for (Index row = 0; row < whole; row += kLanes<T>) lanes = lanes + Vec<T>::load(sums + row);
      for (Index row = whole; row < block.n_rows; ++row) rest += sums[row];
    }
    gradient[bias_.offset + channel] = sum(lanes) + rest;
  }
}

template class PixelStrips<float>;
template class PixelStrips<double>;
template class Conv2d<float>;
template class Conv2d<double>;

}  // namespace aefast
