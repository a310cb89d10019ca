/// What training minimises: the loss of the outputs and the penalties on weights and code.
#pragma once

#include <optional>

#include "aefast/network/network.hpp"
#include "contraction.hpp"
#include "penalty.hpp"
#include "specs.hpp"

namespace aefast {

template <class T>
struct Objective {
  Objective(const Network<T>& network, const ObjectiveSpec& spec);

  /// True if the last layer's product computes the loss, so that outputs are never stored.
  bool is_fused(const EpochSpec& epoch) const { return fused_layer && !epoch.scaling->masks_missing(); }
  /// True if a row's loss is the mean over its known features.
  bool is_mean_of_known(const EpochSpec& epoch) const { return is_mean && epoch.scaling->masks_missing(); }

  bool has_row_penalties() const { return contraction || code_penalty; }

  /// Adds the gradient of the penalties to a finished range of the flat gradient.
  void add_penalty_gradient(Index offset, Index count, bool is_weight, const T* params, T* gradient) const;
  /// Adds the penalties on weights, and those of batchwise layers on the last batch, to `total`.
  void add_penalties(const Network<T>& network, const T* params, double& total) const;

  Loss loss;
  T threshold;   // errors up to this size have no gradient
  T loss_scale;  // of a row's summed loss
  bool is_mean;  // the scale is one over the number of terms
  double clip_norm;
  Penalty<T> weight_penalty, code_penalty;
  std::optional<Contraction<T>> contraction;
  const T* contraction_gradient = nullptr;  // of the slice that was last passed
  Dense<T>* fused_layer = nullptr;          // the last layer if it is linear and the loss is the squared error
};

}  // namespace aefast
