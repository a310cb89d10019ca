#include "kernel_gradient.hpp"

#include <array>

namespace aefast {
namespace {

// Bytes that a task reads repeatedly, which fit into L2.
constexpr Index kBandBytes = 100 * 1024;

// Channels of a window at most, if each row is to have a gradient of its own.
constexpr Index kFewChannels = 2;

/// True if packing the large image leaves fewer lanes empty or, if equal, has more channels in the lanes.
bool mirror_is_better(const Kernel& kernel, Index lanes) {
  if (kernel.stride != 1) return false;
  const Index small = kernel.small.channels, large = kernel.large.channels;
  const Index cost = large * round_up(small, lanes), mirrored_cost = small * round_up(large, lanes);
  return mirrored_cost < cost || (mirrored_cost == cost && large > small);
}

/// Products of vectors along a line: sums[j][i] += sum over steps of a[i] b[j]. The a[i] are `a_stride` apart, the b[j]
/// one register.
template <class T>
struct Dots {
  const T* a;
  const T* b;
  T* sums;
  Index n_steps;
  Index a_stride, a_step;
  Index b_step;
  Index i_stride, j_stride;
};

inline constexpr int kMaxLeft = Level::kDotRows;
inline constexpr int kMaxRight = 3;

template <class T, int kLeft, int kRight>
void dot_tile(const Dots<T>& dots) {
  static_assert(kLeft * kRight + kRight + 1 <= kRegisters, "the tile would spill");
  Vec<T> sum[kLeft][kRight];
  AEFAST_UNROLL
  for (int i = 0; i < kLeft; ++i) {
    AEFAST_UNROLL
    for (int j = 0; j < kRight; ++j) sum[i][j] = Vec<T>::load(dots.sums + i * dots.i_stride + j * dots.j_stride);
  }
  const T* a = dots.a;
  const T* b = dots.b;
  for (Index step = 0; step < dots.n_steps; ++step) {
    Vec<T> right[kRight];
    AEFAST_UNROLL
    for (int j = 0; j < kRight; ++j) right[j] = Vec<T>::load(b + j * kLanes<T>);
    AEFAST_UNROLL
    for (int i = 0; i < kLeft; ++i) {
      const Vec<T> left = Vec<T>::load(a + i * dots.a_stride);
      AEFAST_UNROLL
      for (int j = 0; j < kRight; ++j) sum[i][j] = fma(left, right[j], sum[i][j]);
    }
    a += dots.a_step;
    b += dots.b_step;
  }
  AEFAST_UNROLL
  for (int i = 0; i < kLeft; ++i) {
    AEFAST_UNROLL
    for (int j = 0; j < kRight; ++j) sum[i][j].store(dots.sums + i * dots.i_stride + j * dots.j_stride);
  }
}

template <class T>
void (*find_dot_tile(Index left, Index right))(const Dots<T>&) {
  static constexpr auto table = []<int... kAt>(std::integer_sequence<int, kAt...>) {
    return std::array{&dot_tile<T, kAt / kMaxRight + 1, kAt % kMaxRight + 1>...};
  }(std::make_integer_sequence<int, kMaxLeft * kMaxRight>{});
  return table[static_cast<std::size_t>((left - 1) * kMaxRight + right - 1)];
}

/// Calls f(first, count) for ranges of nearly equal length, at most `longest`, that make up [0, n).
template <class F>
void each_range(Index n, Index longest, F&& f) {
  Index left = (n + longest - 1) / longest;
  for (Index first = 0; first < n; --left) {
    const Index count = (n - first) / left;
    f(first, count);
    first += count;
  }
}

}  // namespace

template <class T>
void PixelPanels<T>::fill(const Block& block, Index y, const T* from) {
  constexpr Index n = kLanes<T>;
  for (Index row = 0; row < block.width; row += n) {
    for (Index x = 0; x < image_.width; ++x) {
      const T* pixel = from + image_.at(y, x) * block.width + row;
      for (Index first = 0; first < padded_; first += n) {
        const Index panel = first / kWidth, width = std::min(kWidth, padded_ - panel * kWidth);
        T* to = const_cast<T*>(at(block.first_row + row, y * image_.width + x, panel)) + first % kWidth;
        const T* channels = pixel + first * block.width;
        transpose_square(channels, block.width, image_.channels - first, to, width);
      }
    }
  }
}

template <class T>
KernelGradient<T>::KernelGradient(const Kernel& kernel, bool transposed)
    : kernel_(kernel),
      walk_(kernel),
      mirrored_(mirror_is_better(kernel, kLanes<T>)),
      packs_input_(transposed != mirrored_) {
  if (mirrored_) walk_ = {kernel.large, kernel.small, kernel.size, 1, kernel.size - 1 - kernel.before};
  const Index products = kernel.size * kernel.size * walk_.large.channels;
  by_row_ = walk_.large.channels <= kFewChannels && products <= walk_.small.n_pixels();
}

template <class T>
void KernelGradient<T>::prepare(Index max_rows, const T* in, const T* delta) {
  in_ = in;
  delta_ = delta;
  if (!by_row_) {
    panels_ = Panels(walk_.small, max_rows);
    return;
  }
  const Index products = kernel_.size * kernel_.size * kernel_.small.channels * kernel_.large.channels;
  row_gradients_.reset(products * round_up(max_rows, kLanes<T>));
}

template <class T>
void KernelGradient<T>::take_input_line(const Block& block, Index y) {
  if (packs_input_ && !by_row_) panels_.fill(block, y, packed_image(block));
}

template <class T>
void KernelGradient<T>::take_delta_line(const Block& block, Index y) {
  if (!by_row_) {
    if (!packs_input_) panels_.fill(block, y, packed_image(block));
    return;
  }
  if (!packs_input_) return add_row_products(block, y);
  // Takes the lines of the input for which this is the last line that they meet.
  const Index height = walk_.small.height;
  const auto n_complete = [&](Index n_lines) {
    if (n_lines == walk_.large.height) return height;
    const Index last = n_lines + walk_.before - walk_.size;
    return last < 0 ? 0 : std::min(height, last / walk_.stride + 1);
  };
  for (Index line = n_complete(y); line < n_complete(y + 1); ++line) add_row_products(block, line);
}

/// Adds the products of line `y` of the packed image with the lines of the window that it meets, row by row.
template <class T>
void KernelGradient<T>::add_row_products(const Block& block, Index y) {
  const Image &image = walk_.small, &window = walk_.large;
  const Index n_columns = walk_.size * window.channels, padded = (image.width - 1) * walk_.stride + walk_.size;
  T* gradients = row_gradients_.data() + walk_.size * n_columns * image.channels * block.first_row;
  if (y == 0) std::fill_n(gradients, walk_.size * n_columns * image.channels * block.width, T(0));

  Buffer<T> line(padded * window.channels * kLanes<T>);  // of the window, padded with zeros
  const Range inside{std::min(padded, walk_.before), std::min(padded, walk_.before + window.width)};
  const Range lines = walk_.taps(y, window.height);
  for (Index row = 0; row < block.width; row += kLanes<T>) {
    for (Index tap = lines.first; tap < lines.last; ++tap) {
      const T* from = window_image(block) + window.at(y * walk_.stride - walk_.before + tap, 0) * block.width + row;
      for (Index i = 0; i < (inside.last - inside.first) * window.channels; ++i) {
        Vec<T>::load(from + i * block.width).store(line.data() + (inside.first * window.channels + i) * kLanes<T>);
      }
      each_range(image.channels, kMaxLeft, [&](Index channel, Index n_left) {
        each_range(n_columns, kMaxRight, [&](Index column, Index n_right) {
          T* sums = gradients + ((tap * n_columns + column) * image.channels + channel) * block.width + row;
          const T* left = packed_image(block) + (image.at(y, 0) + channel) * block.width + row;
          find_dot_tile<T>(n_left, n_right)({left, line.data() + column * kLanes<T>, sums, image.width, block.width,
                                             image.channels * block.width, walk_.stride * window.channels * kLanes<T>,
                                             block.width, image.channels * block.width});
        });
      });
    }
  }
}

/// The input of the weights for a line, tap and channel of the large image, from the line and tap of walk_.
template <class T>
Index KernelGradient<T>::input_of(Index line, Index tap, Index channel) const {
  const Index last = kernel_.size - 1;
  if (mirrored_) return ((last - line) * kernel_.size + last - tap) * kernel_.large.channels + channel;
  return (line * kernel_.size + tap) * kernel_.large.channels + channel;
}

/// One task for each panel of channels and line of the kernel, whose weights are contiguous.
template <class T>
Index KernelGradient<T>::n_tasks() const {
  if (by_row_) return 1;
  return kernel_.size * (mirrored_ ? 1 : n_panels());
}

template <class T>
void KernelGradient<T>::run(Index task, std::span<const Block> blocks, const Parameter& weights, T* gradient,
                            const OnGradient& on_gradient) const {
  if (by_row_) {
    sum_row_gradients(blocks, weights, gradient);
    return on_gradient(weights.offset, weights.size<T>(), true);
  }
  const Index line = task % kernel_.size, n_window = walk_.large.channels;
  const Index first_input = std::min(input_of(line, 0, 0), input_of(line, kernel_.size - 1, 0));
  const Range panels = mirrored_ ? Range{0, n_panels()} : Range{task / kernel_.size, task / kernel_.size + 1};
  Buffer<T> sums(kernel_.size * n_window * Panels::kWidth);
  for (Index panel = panels.first; panel < panels.last; ++panel) {
    correlate(line, panel, blocks, sums.data());
    const Index width = round_up(n_channels(panel), kLanes<T>);
    const T* from = sums.data();
    for (Index tap = 0; tap < kernel_.size; ++tap) {
      for (Index channel = 0; channel < n_window; ++channel, from += width) {
        for (Index i = 0; i < n_channels(panel); ++i) {
          const Index other = panel * Panels::kWidth + i;
          const Index at = mirrored_ ? weights.at<T>(channel, input_of(line, tap, other))
                                     : weights.at<T>(other, input_of(line, tap, channel));
          gradient[at] = from[i];
        }
      }
    }
  }
  const Index output = mirrored_ ? 0 : panels.first * Panels::kWidth;
  const Index n_outputs = mirrored_ ? kernel_.small.channels : n_channels(panels.first);
  on_gradient(weights.at<T>(output, first_input), n_outputs * weights.panel_width<T>(first_input), true);
}

/// sums ((tap of a line of the kernel, channel of the window) x panel) = the products of window and packed image,
/// summed over pixels and rows: first over bands of lines that fit into the cache, then over the bands.
template <class T>
void KernelGradient<T>::correlate(Index line, Index panel, std::span<const Block> blocks, T* sums) const {
  const Image &packed = walk_.small, &window = walk_.large;
  const Index width = round_up(n_channels(panel), kLanes<T>);
  Buffer<T> partial(walk_.size * window.channels * width);
  std::fill_n(sums, partial.size(), T(0));

  const Range lines = walk_.pixels(line, packed.height, window.height);
  const Index last_full = walk_.pixels(walk_.size - 1, packed.width, window.width).last;
  const Range full{std::min(last_full, walk_.pixels(0, packed.width, window.width).first), last_full};
  const Index pixel_bytes = (width + window.channels) * kLanes<T> * static_cast<Index>(sizeof(T));
  const Index band = std::max<Index>(1, kBandBytes / (packed.width * pixel_bytes));

  std::vector<Product<T>> pixels;
  for (const Block& block : blocks) {
    for (Index row = 0; row < block.n_rows; row += kLanes<T>) {
      const T* images = window_image(block) + row;
      const Index n_rows = std::min(kLanes<T>, block.n_rows - row);
      for (Index first = lines.first; first < lines.last; first += band) {
        const auto add = [&](const Range& columns, const Range& taps) {
          pixels.clear();
          for (Index y = first; y < std::min(lines.last, first + band); ++y) {
            for (Index x = columns.first; x < columns.last; ++x) {
              const Index other_x = x * walk_.stride - walk_.before + taps.first;
              const Index at = window.at(y * walk_.stride - walk_.before + line, other_x);
              pixels.push_back({images + at * block.width,
                                panels_.at(block.first_row + row, y * packed.width + x, panel), n_rows, block.width,
                                1});
            }
          }
          T* to = sums + taps.first * window.channels * width;
          const auto add_partial = [&](const T* z, Index n) {
            T* sum = to + (z - partial.data());
            map(sum, n, [](const Vec<T>& a, const Vec<T>& b) { return a + b; }, sum, z);
          };
          multiply<T>((taps.last - taps.first) * window.channels, width, pixels, nullptr, partial.data(), add_partial);
        };
        if (full.first < full.last) add(full, {0, walk_.size});
        for (Index x = 0; x < packed.width; ++x) {
          if (x < full.first || x >= full.last) add({x, x + 1}, walk_.taps(x, window.width));
        }
      }
    }
  }
}

template <class T>
void KernelGradient<T>::sum_row_gradients(std::span<const Block> blocks, const Parameter& weights, T* gradient) const {
  const Index n_packed = walk_.small.channels, n_window = walk_.large.channels;
  const Index n = kernel_.size * kernel_.size * n_window * n_packed;
  for (Index i = 0; i < n; ++i) {
    const Index channel = i % n_packed, other = i / n_packed % n_window, tap = i / (n_packed * n_window);
    const Index line = tap / kernel_.size, column = tap % kernel_.size;
    const Index at = mirrored_ ? weights.at<T>(other, input_of(line, column, channel))
                               : weights.at<T>(channel, input_of(line, column, other));
    gradient[at] = sum_rows<T>(blocks, n, i, [this](Index j) { return Vec<T>::load(row_gradients_.data() + j); });
  }
}

template class PixelPanels<float>;
template class PixelPanels<double>;
template class KernelGradient<float>;
template class KernelGradient<double>;

}  // namespace aefast
