/// Layers in order over one flat vector of parameters, and the passage of those to and from a user's arrays.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "aefast/layer/conv2d.hpp"
#include "aefast/layer/dense.hpp"
#include "aefast/layer/gaussian.hpp"
#include "losses.hpp"

namespace aefast {

/// A layer as the estimators describe it; each kind reads the fields it needs.
struct LayerSpec {
  std::string kind = "dense";  // dense top_k kl_sparsity gaussian_code conv2d conv2d_transpose max_pool2d upsample2d
  Index units = 0;             // outputs
  std::string activation = "identity";
  int tied_to = -1;         // dense: the layer that lends its weights
  bool batch_norm = false;  // between product and activation
  double dropout = 0;       // after the activation
  Index k = 0;              // top_k
  double target = 0;        // kl_sparsity
  double weight = 0;        // kl_sparsity
  Image image{};            // the four of images: what comes in
  Index channels = 0;       // conv2d, conv2d_transpose: of what goes out
  Index kernel_size = 0;    // conv2d, conv2d_transpose
  Padding padding = Padding::same;
  Index factor = 0;  // conv2d_transpose, max_pool2d, upsample2d: how many times larger or smaller
};

struct NetworkSpec {
  Index n_features = 0;
  std::vector<LayerSpec> layers;
  Index n_encoder_layers = 0;
  std::vector<Group> groups;
  std::vector<Column> columns;  // where features stand for columns of several kinds
};

/// Throws std::invalid_argument for what is out of range or leads to sizes beyond counting, before anything is
/// allocated. That the layers fit together is seen as they are made.
const NetworkSpec& checked(const NetworkSpec& spec);

/// The last layer's activation belongs to the output stage, which knows the loss.
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
  /// Multiply-adds of a forward pass over one row.
  Index work() const { return work_; }
  /// The index of the layer that draws the code, or -1.
  Index gaussian_code() const { return gaussian_code_; }

 private:
  std::vector<std::unique_ptr<Layer<T>>> layers_;
  void add(std::unique_ptr<Layer<T>> layer);
  void add(const LayerSpec& spec, std::size_t index, bool is_last);
  Dense<T>* owner(const LayerSpec& spec) const;
  void add_image_layer(const LayerSpec& spec, const Activation<T>& activation);
  Index n_last() const { return layers_.empty() ? n_features_ : layers_.back()->n_out(); }

  Index n_features_;
  std::vector<Dense<T>*> dense_;  // by the index of its specification
  Index n_encoder_ = 0;
  Index gaussian_code_ = -1;
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
