#include "network.hpp"

#include <stdexcept>

#include "aefast/layer/activate.hpp"
#include "aefast/layer/batch_norm.hpp"
#include "aefast/layer/dropout.hpp"
#include "aefast/layer/pool.hpp"
#include "aefast/layer/upsample.hpp"

namespace aefast {
namespace {

/// More parameters, multiply-adds or features than any machine has room for, and far below what Index can count.
constexpr Index kMost = Index{1} << 44;

/// Throws where the product of counts, all at least 1, goes beyond kMost.
void check_size(const char* what, std::initializer_list<Index> factors) {
  Index size = 1;
  for (const Index factor : factors) {
    if (size > kMost / factor) throw std::invalid_argument(std::string(what) + " is too large");
    size *= factor;
  }
}

}  // namespace

const NetworkSpec& checked(const NetworkSpec& spec) {
  const auto n_layers = static_cast<Index>(spec.layers.size());
  if (spec.n_features < 1 || n_layers < 1 || spec.n_encoder_layers < 1 || spec.n_encoder_layers > n_layers) {
    throw std::invalid_argument("a network needs features, layers and an encoder among them");
  }
  check_size("the number of features", {spec.n_features});
  Index covered = 0;
  for (const auto& [begin, end, weight, is_category] : spec.columns) {
    if (begin != covered || end <= begin || !(weight > 0))
      throw std::invalid_argument("columns must follow on each other");
    covered = end;
  }
  if (covered != 0 && covered != spec.n_features) throw std::invalid_argument("columns must hold all features");
  for (const auto& [begin, end] : spec.groups) {
    if (begin < 0 || end <= begin || end > spec.n_features)
      throw std::invalid_argument("a group lies outside the features");
  }
  for (const LayerSpec& layer : spec.layers) {
    if (layer.tied_to >= n_layers) throw std::invalid_argument("a layer ties to one that is not there");
  }
  return spec;
}

template <class T>
Network<T>::Network(const NetworkSpec& spec)
    : n_features_(checked(spec).n_features),
      width_(spec.n_features),
      output_(spec.n_features, spec.layers.back().activation, spec.groups, spec.columns) {
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    add(spec.layers[i], i, i + 1 == spec.layers.size());
    if (static_cast<Index>(i) + 1 == spec.n_encoder_layers) n_encoder_ = static_cast<Index>(layers_.size());
  }
  if (n_last() != n_features_) throw std::invalid_argument("the last layer must give n_features");
}

template <class T>
void Network<T>::add(std::unique_ptr<Layer<T>> layer) {
  work_ += layer->work();
  width_ = std::max(width_, layer->n_out());
  layers_.push_back(std::move(layer));
  if (work_ > kMost || n_parameters_ > kMost) throw std::invalid_argument("the network is too large");
}

/// The layer that lends a dense one its weights, or none.
template <class T>
Dense<T>* Network<T>::owner(const LayerSpec& spec) const {
  if (spec.tied_to < 0) return nullptr;
  Dense<T>* found = dense_.at(static_cast<std::size_t>(spec.tied_to));
  if (!found || found->is_tied()) throw std::invalid_argument("a layer ties to one without weights of its own");
  if (found->n_in() != spec.units || found->n_out() != n_last()) {
    throw std::invalid_argument("tied layers must mirror each other");
  }
  return found;
}

/// The layers that one specification stands for.
template <class T>
void Network<T>::add(const LayerSpec& spec, std::size_t index, bool is_last) {
  const auto part = static_cast<std::uint32_t>(index);
  const auto activation = find_activation<T>(is_last ? "identity" : spec.activation);
  dense_.push_back(nullptr);
  if (spec.kind == "dense") {
    if (spec.units < 1) throw std::invalid_argument("a dense layer needs units");
    check_size("a dense layer", {n_last(), spec.units});
    const auto fused = spec.batch_norm ? find_activation<T>("identity") : activation;
    auto dense = std::make_unique<Dense<T>>(n_last(), spec.units, fused, n_parameters_, owner(spec));
    dense_.back() = dense.get();
    add(std::move(dense));
  } else if (spec.kind == "top_k") {
    if (spec.k < 1 || spec.k > n_last()) throw std::invalid_argument("top_k needs k between 1 and its inputs");
    add(std::make_unique<TopK<T>>(n_last(), spec.k));
  } else if (spec.kind == "kl_sparsity") {
    add(std::make_unique<KlSparsity<T>>(n_last(), spec.target, spec.weight));
  } else if (spec.kind == "gaussian_code") {
    if (n_last() % 2 != 0) throw std::invalid_argument("a gaussian code needs means and log-variances");
    gaussian_code_ = static_cast<Index>(layers_.size());
    add(std::make_unique<GaussianCode<T>>(n_last()));
  } else {
    add_image_layer(spec, activation);
  }
  if (spec.batch_norm) {
    add(std::make_unique<BatchNorm<T>>(n_last(), n_parameters_));
    add(std::make_unique<Activate<T>>(n_last(), activation));
  }
  if (spec.dropout > 0) add(std::make_unique<Dropout<T>>(n_last(), static_cast<T>(spec.dropout), part));
}

template <class T>
void Network<T>::add_image_layer(const LayerSpec& spec, const Activation<T>& activation) {
  const bool is_convolution = spec.kind == "conv2d", is_transposed = spec.kind == "conv2d_transpose";
  if (!is_convolution && !is_transposed && spec.kind != "max_pool2d" && spec.kind != "upsample2d") {
    throw std::invalid_argument("unknown kind of layer '" + spec.kind + "'");
  }
  const auto need = [&](Index value, const char* name) {
    if (value < 1)
      throw std::invalid_argument(spec.kind + " needs " + name + " of at least 1, not " + std::to_string(value));
  };
  const Image& image = spec.image;
  need(std::min({image.height, image.width, image.channels}), "an image with sides and channels");
  check_size("an image", {image.height, image.width, image.channels});
  if (image.size() != n_last()) {
    throw std::invalid_argument("an image of " + image.text() + " does not fit " + std::to_string(n_last()) +
                                " features");
  }
  if (spec.batch_norm || spec.tied_to >= 0) throw std::invalid_argument(spec.kind + " takes no batch_norm and no ties");
  if (!is_convolution) {
    need(spec.factor, "a factor");
    check_size("an image", {image.size(), spec.factor, spec.factor, std::max<Index>(1, spec.channels)});
  }
  if (is_convolution || is_transposed) {
    need(spec.channels, "channels");
    need(spec.kernel_size, "a kernel_size");
    check_size("a convolution", {image.size(), spec.channels, spec.kernel_size, spec.kernel_size});
    const Kernel kernel = is_convolution
                              ? convolution_kernel(image, spec.channels, spec.kernel_size, spec.padding)
                              : transposed_kernel(image, spec.channels, spec.kernel_size, spec.factor, spec.padding);
    add(std::make_unique<Conv2d<T>>(kernel, is_transposed, activation, n_parameters_));
  } else if (spec.kind == "max_pool2d") {
    add(std::make_unique<MaxPool2d<T>>(image, spec.factor));
  } else {
    add(std::make_unique<Upsample2d<T>>(image, spec.factor));
  }
}

template <class T>
std::vector<Parameter> Network<T>::parameters() const {
  std::vector<Parameter> all;
  for (const auto& layer : layers_) {
    for (const Parameter& parameter : layer->parameters()) all.push_back(parameter);
  }
  return all;
}

template <class T>
void import_parameter(const Parameter& parameter, const double* from, T* flat) {
  for (Index i = 0; i < parameter.n_inputs; ++i) {
    for (Index o = 0; o < parameter.n_outputs; ++o) {
      flat[parameter.at<T>(o, i)] = static_cast<T>(from[i * parameter.n_outputs + o]);
    }
  }
}

template <class T>
void export_parameter(const Parameter& parameter, const T* flat, T* to) {
  for (Index i = 0; i < parameter.n_inputs; ++i) {
    for (Index o = 0; o < parameter.n_outputs; ++o) to[i * parameter.n_outputs + o] = flat[parameter.at<T>(o, i)];
  }
}

template class Network<float>;
template class Network<double>;
template void import_parameter<float>(const Parameter&, const double*, float*);
template void import_parameter<double>(const Parameter&, const double*, double*);
template void export_parameter<float>(const Parameter&, const float*, float*);
template void export_parameter<double>(const Parameter&, const double*, double*);

}  // namespace aefast
