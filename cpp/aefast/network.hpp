/// Layers in order over one flat vector of parameters, and the passage of those to and from a user's arrays.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "layer/dense.hpp"
#include "loss.hpp"

namespace aefast {

/// A network as the estimators describe it.
struct LayerSpec {
  std::string kind = "dense";
  Index units = 0;
  std::string activation = "identity";
  int tied_to = -1;
  double dropout = 0;
};

struct NetworkSpec {
  Index n_features = 0;
  std::vector<LayerSpec> layers;
  Index n_encoder_layers = 0;
  std::vector<Group> groups;
};

/// The last layer's activation belongs to the output stage, which knows the loss.
template <class T>
class Network {
 public:
  explicit Network(const NetworkSpec& spec);

  const std::vector<std::unique_ptr<Layer<T>>>& layers() const { return layers_; }
  /// Layers [0, n_encoder) end in the code.
  Index n_encoder() const { return n_encoder_; }
  Index n_features() const { return layers_.front()->n_in(); }
  Index code_size() const { return layers_[static_cast<std::size_t>(n_encoder_ - 1)]->n_out(); }
  /// The widest layer boundary.
  Index width() const { return width_; }
  const OutputStage<T>& output() const { return output_; }
  std::vector<Parameter> parameters() const;
  Index n_parameters() const { return n_parameters_; }
  /// Multiply-adds of a forward pass over one row.
  Index work() const { return work_; }
  /// The first layer, if it can be handed its input's rows.
  Dense<T>* first_dense() const { return dynamic_cast<Dense<T>*>(layers_.front().get()); }

  /// Forward through layers [first, last) as in scoring. `in` is kept; returns where the result is, in one of the two
  /// `scratch` arrays of `width()` x block width, or `in` when there are no layers.
  const T* forward(Index first, Index last, const Block& block, const T* params, const T* in, T* scratch[2]) const;

 private:
  std::vector<std::unique_ptr<Layer<T>>> layers_;
  Index n_encoder_ = 0;
  Index n_parameters_ = 0;
  Index width_ = 0;
  Index work_ = 0;
  OutputStage<T> output_;
};

/// One array of parameters between the engine's strips and a contiguous (n_inputs, n_outputs), or (n,), array.
template <class T>
void import_parameter(const Parameter& parameter, const double* from, T* flat);
template <class T>
void export_parameter(const Parameter& parameter, const T* flat, T* to);

}  // namespace aefast
