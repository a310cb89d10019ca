#include "conv2d.hpp"

namespace aefast {

Kernel convolution_kernel(const Image& in, Index channels, Index size, Index stride, Padding padding) {
  const bool is_same = padding == Padding::same;
  if (!is_same && (size > in.height || size > in.width)) {
    throw std::invalid_argument("a kernel of " + std::to_string(size) +
                                " with valid padding does not fit an image of " + in.text());
  }
  const Index lost = is_same ? 0 : size - 1, before = is_same ? std::max<Index>(0, size - stride) / 2 : 0;
  return {{n_parts(in.height - lost, stride), n_parts(in.width - lost, stride), channels}, in, size, stride, before};
}

Kernel transposed_kernel(const Image& in, Index channels, Index size, Index factor, Padding padding) {
  if (padding == Padding::same) {
    return {in, {in.height * factor, in.width * factor, channels}, size, factor, std::max<Index>(0, size - factor) / 2};
  }
  return {in, {(in.height - 1) * factor + size, (in.width - 1) * factor + size, channels}, size, factor, 0};
}

template <class T>
Conv2d<T>::Conv2d(const Kernel& kernel, bool transposed, const Activation<T>& activation, Index& offset)
    : Layer<T>(transposed ? kernel.small.size() : kernel.large.size(),
               transposed ? kernel.large.size() : kernel.small.size()),
      kernel_(kernel),
      transposed_(transposed),
      activation_(activation),
      kernel_gradient_(kernel, transposed) {
  const Index line = kernel.size * kernel.large.channels;
  weights_ = {offset, kernel.small.channels, kernel.size * line, true, false, line};
  offset += weights_.template size<T>();
  bias_ = {offset, 1, out_image().channels, false};
  offset += bias_.template size<T>();
}

namespace {

/// The number of channels and the size of the kernel that make a layer with parameters that can be counted.
std::pair<Index, Index> checked_kernel(const LayerSpec& spec, const Image& image) {
  const Index channels = spec.at_least_one("channels", "channels");
  const Index size = spec.at_least_one("kernel_size", "a kernel_size");
  check_size("a convolution", {image.size(), channels, size, size});
  return {channels, size};
}

}  // namespace

template <class T>
std::unique_ptr<Layer<T>> Conv2d<T>::make(const LayerSpec& spec, const LayerContext<T>& context) {
  const Image image = checked_image(spec, context.n_in);
  const auto [channels, size] = checked_kernel(spec, image);
  const Index stride = spec.count("stride", 1);
  if (stride < 1) throw std::invalid_argument(spec.needs("a stride", stride));
  const Kernel kernel = convolution_kernel(image, channels, size, stride, find_padding(spec.text("padding", "same")));
  return std::make_unique<Conv2d>(kernel, false, context.activation, context.n_parameters);
}

template <class T>
std::unique_ptr<Layer<T>> Conv2d<T>::make_transposed(const LayerSpec& spec, const LayerContext<T>& context) {
  const Image image = checked_image(spec, context.n_in);
  const Index factor = checked_factor(spec, image);
  const auto [channels, size] = checked_kernel(spec, image);
  Kernel kernel = transposed_kernel(image, channels, size, factor, find_padding(spec.text("padding", "same")));
  kernel.large = checked_output(spec, kernel.large, factor);
  return std::make_unique<Conv2d>(kernel, true, context.activation, context.n_parameters);
}

template <class T>
Index Conv2d<T>::work() const {
  return kernel_.small.size() * kernel_.size * kernel_.size * kernel_.large.channels;
}

/// Adds the products for the pixel (y, x) of the small image: one for each line of the kernel inside the large image.
template <class T>
void Conv2d<T>::add_line_taps(Index y, Index x, Index width, const T* params, const T* in, ProductList<T>& taps) const {
  const Image& large = kernel_.large;
  const Range lines = kernel_.taps(y, large.height), columns = kernel_.taps(x, large.width);
  const Index stride = weights_.template panel_width<T>(0);
  for (Index line = lines.first; line < lines.last; ++line) {
    const Index tap = line * kernel_.size + columns.first;
    const Index pixel =
        large.at(y * kernel_.stride - kernel_.before + line, x * kernel_.stride - kernel_.before + columns.first);
    taps.add({params + weights_.template at<T>(0, tap * large.channels), in + pixel * width,
              (columns.last - columns.first) * large.channels, stride, 1});
  }
}

/// Adds the products for the pixel (y, x) of the large image: one for each tap at which a small pixel meets it.
template <class T>
void Conv2d<T>::add_single_taps(Index y, Index x, Index width, const T* params, const T* in,
                                ProductList<T>& taps) const {
  const Image& small = kernel_.small;
  const Index stride = weights_.template panel_width<T>(0);
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

/// out = kernel in + bias, line by line. Calls ready(line) for each line of `in` in turn, before that line is read;
/// `finish` is that of `multiply`.
template <class T>
template <class Ready, class Finish>
void Conv2d<T>::product(bool to_large, const Block& block, const T* params, const T* in, const T* bias, T* out,
                        Ready&& ready, const Finish& finish) const {
  const Image& from = to_large ? kernel_.small : kernel_.large;
  const Image& to = to_large ? kernel_.large : kernel_.small;
  ProductList<T> taps(kernel_.size * kernel_.size);
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
  kernel_gradient_.prepare(max_rows, in, delta_out);
  pixel_sums_.reset(out_image().channels * padded);
  if (activation_.keeps_slopes()) slopes_.reset(this->n_out() * padded);
}

template <class T>
void Conv2d<T>::forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>&) {
  const auto ready = [&](Index y) { kernel_gradient_.take_input_line(block, y); };
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
    kernel_gradient_.take_delta_line(block, y);
  };
  if (delta_in) return product(!transposed_, block, params, delta_out, nullptr, delta_in, ready, Nothing{});
  for (Index y = 0; y < image.height; ++y) ready(y);
}

template <class T>
void Conv2d<T>::gradient(Index task, std::span<const Block> blocks, const Slice&, T* gradient,
                         const OnGradient& on_gradient) const {
  if (task > 0) return kernel_gradient_.run(task - 1, blocks, weights_, gradient, on_gradient);
  const Index n = out_image().channels;
  for (Index channel = 0; channel < n; ++channel) {
    gradient[bias_.offset + channel] =
        sum_rows<T>(blocks, n, channel, [this](Index i) { return Vec<T>::load(pixel_sums_.data() + i); });
  }
  on_gradient(bias_.offset, bias_.template size<T>(), false);
}

template class Conv2d<float>;
template class Conv2d<double>;

}  // namespace aefast
