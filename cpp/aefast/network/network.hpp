/// A network: its layers in order, over one flat vector of parameters, and conversions between that vector and a user's
/// arrays.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "aefast/layer/spec.hpp"
#include "output_stage.hpp"

namespace aefast {

struct NetworkSpec {
  Index n_features = 0;
  std::vector<LayerSpec> layers;
  Index n_encoder_layers = 0;
  std::vector<Group> groups;
  std::vector<Column> columns;  // empty if each feature is a column
};

/// Returns `spec`, or throws std::invalid_argument if a value is out of range or a size too large to count, before
/// anything is allocated. Making the layers checks that they fit together.
const NetworkSpec& checked(const NetworkSpec& spec);

/// The layers, and the output stage, which has the last layer's activation.
template <class T>
class Network {
 public:
  explicit Network(const NetworkSpec& spec);

  const std::vector<std::unique_ptr<Layer<T>>>& layers() const { return layers_; }
  /// Layers [0, n_encoder) end in the code.
  Index n_encoder() const { return n_encoder_; }
  Index n_features() const { return n_features_; }
  Index code_size() const { return layers_[static_cast<std::size_t>(n_encoder_ - 1)]->n_out(); }
  /// The widest layer boundary.
  Index width() const { return width_; }
  const OutputStage<T>& output() const { return output_; }
  std::vector<Parameter> parameters() const;
  Index n_parameters() const { return n_parameters_; }
  /// Multiply-adds of a forward pass per row.
  Index work() const { return work_; }
  /// The index of the layer that draws a random code, or -1.
  Index gaussian_code() const { return gaussian_code_; }

 private:
  void add(std::unique_ptr<Layer<T>> layer);
  void add(const LayerSpec& spec, std::uint32_t index, bool is_last);
  Index n_last() const { return layers_.empty() ? n_features_ : layers_.back()->n_out(); }

  std::vector<std::unique_ptr<Layer<T>>> layers_;
  Index n_features_;
  std::vector<Layer<T>*> described_;  // the layer made from each description
  Index n_encoder_ = 0;
  Index gaussian_code_ = -1;
  Index n_parameters_ = 0;
  Index width_ = 0;
  Index work_ = 0;
  OutputStage<T> output_;
};

/// Copies one array of parameters from or to a contiguous array (n_inputs, n_outputs) or (n,).
template <class T>
void import_parameter(const Parameter& parameter, const double* from, T* flat);
template <class T>
void export_parameter(const Parameter& parameter, const T* flat, T* to);

}  // namespace aefast
