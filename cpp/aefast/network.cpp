#include "network.hpp"

#include <stdexcept>

#include "layer/dropout.hpp"

namespace aefast {

template <class T>
Network<T>::Network(const NetworkSpec& spec)
    : width_(spec.n_features), output_(spec.n_features, spec.layers.back().activation, spec.groups) {
  std::vector<Dense<T>*> dense;
  Index n_in = spec.n_features;
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const LayerSpec& layer = spec.layers[i];
    const bool is_last = i + 1 == spec.layers.size();
    if (layer.kind != "dense") throw std::invalid_argument("unknown kind of layer '" + layer.kind + "'");
    Dense<T>* tied_to = layer.tied_to < 0 ? nullptr : dense.at(static_cast<std::size_t>(layer.tied_to));
    if (tied_to && (tied_to->n_in() != layer.units || tied_to->n_out() != n_in)) {
      throw std::invalid_argument("tied layers must mirror each other");
    }
    const auto activation = find_activation<T>(is_last ? "identity" : layer.activation);
    auto next = std::make_unique<Dense<T>>(n_in, layer.units, activation, n_parameters_, tied_to);
    dense.push_back(next.get());
    layers_.push_back(std::move(next));
    work_ += n_in * layer.units;
    n_in = layer.units;
    width_ = std::max(width_, n_in);
    if (layer.dropout > 0) {
      const auto part = static_cast<std::uint32_t>(i);
      layers_.push_back(std::make_unique<Dropout<T>>(n_in, static_cast<T>(layer.dropout), part));
    }
    if (static_cast<Index>(i) + 1 == spec.n_encoder_layers) n_encoder_ = static_cast<Index>(layers_.size());
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
const T* Network<T>::forward(Index first, Index last, const Block& block, const T* params, const T* in,
                             T* scratch[2]) const {
  for (Index i = first; i < last; ++i) {
    T* out = in == scratch[0] ? scratch[1] : scratch[0];
    layers_[static_cast<std::size_t>(i)]->forward(block, params, in, out);
    in = out;
  }
  return in;
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
