#include "network.hpp"

#include <algorithm>
#include <stdexcept>
#include <string_view>

#include "aefast/layer/activate.hpp"
#include "aefast/layer/batch_norm.hpp"
#include "aefast/layer/conv2d.hpp"
#include "aefast/layer/dense.hpp"
#include "aefast/layer/dropout.hpp"
#include "aefast/layer/gaussian.hpp"
#include "aefast/layer/kl_sparsity.hpp"
#include "aefast/layer/level_dense.hpp"
#include "aefast/layer/pool.hpp"
#include "aefast/layer/top_k.hpp"
#include "aefast/layer/upsample.hpp"

namespace aefast {
namespace {

template <class T>
struct LayerKind {
  std::string_view name;
  std::unique_ptr<Layer<T>> (*make)(const LayerSpec&, const LayerContext<T>&);
};

/// All kinds of layers: a new one is its header and a line here.
template <class T>
constexpr LayerKind<T> kLayerKinds[] = {
    {"dense", &Dense<T>::make},
    {"level_dense", &LevelDense<T>::make},
    {"top_k", &TopK<T>::make},
    {"kl_sparsity", &KlSparsity<T>::make},
    {"gaussian_code", &GaussianCode<T>::make},
    {"conv2d", &Conv2d<T>::make},
    {"conv2d_transpose", &Conv2d<T>::make_transposed},
    {"max_pool2d", &MaxPool2d<T>::make},
    {"upsample2d", &Upsample2d<T>::make},
};

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
    if (layer.count("tied_to", -1) >= n_layers) throw std::invalid_argument("a layer ties to one that is not there");
  }
  return spec;
}

template <class T>
Network<T>::Network(const NetworkSpec& spec)
    : n_features_(checked(spec).n_features),
      width_(spec.n_features),
      output_(spec.n_features, spec.layers.back().text("activation", "identity"), spec.groups, spec.columns) {
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    add(spec.layers[i], static_cast<std::uint32_t>(i), i + 1 == spec.layers.size());
    if (static_cast<Index>(i) + 1 == spec.n_encoder_layers) n_encoder_ = static_cast<Index>(layers_.size());
  }
  if (n_last() != n_features_) throw std::invalid_argument("the last layer must give n_features");
}

template <class T>
void Network<T>::add(std::unique_ptr<Layer<T>> layer) {
  if (dynamic_cast<const GaussianCode<T>*>(layer.get())) gaussian_code_ = static_cast<Index>(layers_.size());
  work_ += layer->work();
  width_ = std::max(width_, layer->n_out());
  layers_.push_back(std::move(layer));
  if (work_ > kMaxCount || n_parameters_ > kMaxCount) throw std::invalid_argument("the network is too large");
}

/// Adds the layers that one description stands for.
template <class T>
void Network<T>::add(const LayerSpec& spec, std::uint32_t index, bool is_last) {
  const auto activation = find_activation<T>(is_last ? "identity" : spec.text("activation", "identity"));
  const auto kind = std::ranges::find(kLayerKinds<T>, spec.kind(), &LayerKind<T>::name);
  if (kind == std::end(kLayerKinds<T>)) throw std::invalid_argument("unknown kind of layer '" + spec.kind() + "'");
  const bool has_batch_norm = spec.flag("batch_norm");
  described_.push_back(nullptr);
  add(kind->make(spec,
                 {n_last(), has_batch_norm ? find_activation<T>("identity") : activation, described_, n_parameters_}));
  described_.back() = layers_.back().get();
  if (has_batch_norm) {
    add(std::make_unique<BatchNorm<T>>(n_last(), layers_.back()->n_channels(), n_parameters_));
    add(std::make_unique<Activate<T>>(n_last(), activation));
  }
  const double dropout = spec.number("dropout");
  if (dropout > 0) add(std::make_unique<Dropout<T>>(n_last(), static_cast<T>(dropout), index));
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
