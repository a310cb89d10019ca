/// The contractive penalty (Rifai et al. 2011, eq. 5): weight * |d code / d input|_F^2, averaged over rows, exact for
/// any depth and activation, and its exact gradient.
///
/// With s_l the slopes f'(z_l) of layer l and t_L = s_L,j e_j for code unit j, row j of the Jacobian is W_1^T t_1 where
///
///   c_l = W_{l+1}^T t_{l+1},  t_l = s_l * c_l,
///
/// so its squared norm is t_1^T G t_1 with the Gram matrix G = W_1 W_1^T, which is computed once per batch. The many
/// inputs never appear. The gradient takes the same way back and reaches z_l through f''. A row costs about 2 q n_1^2
/// multiply-adds for q code units and n_1 units in the first layer, plus 3 q n_l n_{l+1} for each pair of layers
/// between.
#pragma once

#include <memory>

#include "aefast/layer/dense.hpp"

namespace aefast {

template <class T>
class Contraction {
 public:
  /// `encoder` has the layers from input to code; their `backward` will add the gradients that `pass_block` leaves.
  Contraction(std::vector<Dense<T>*> encoder, double weight);
  ~Contraction();

  void prepare(Index max_rows, Index n_parameters, int n_threads);
  /// Before the blocks of a batch: copies the weights and computes the Gram matrix.
  void begin_batch(const T* params);
  /// After a block's forward pass; `values[l]` are the block's inputs of layer l. Adds each row's penalty to
  /// `row_loss`.
  void pass_block(const Block& block, const T* params, std::span<const T* const> values, const T* row_weight,
                  T* row_loss, int thread);
  /// After all blocks: the gradient by the weights, stored like the parameters.
  const T* gradient(std::span<const Block> blocks);

 private:
  struct Workspace;
  void pass_unit(Index unit, const Block& block, const T* row_weight, T* row_loss, Workspace& work);
  void pass_single_layer(const Block& block, const T* row_weight, T* row_loss, Workspace& work);
  T* partial(const Block& block) { return partials_.data() + block.index * n_partial_; }
  Index n_layers() const { return static_cast<Index>(encoder_.size()); }
  const Dense<T>& layer(Index l) const { return *encoder_[static_cast<std::size_t>(l)]; }
  const Parameter& weights(Index l) const { return weights_[static_cast<std::size_t>(l)]; }
  Buffer<T>& extra(Index l) { return extras_[static_cast<std::size_t>(l)]; }

  std::vector<Dense<T>*> encoder_;
  T weight_;
  Parameter gram_at_;               // layout of G, and of the gradient by G in each block's partial result
  std::vector<Parameter> weights_;  // layout of each layer's weights in `params_` and, but for the first, in the latter
  Index n_partial_ = 0;
  Buffer<T> params_;  // copy of the weights, output by output
  Buffer<T> gram_, partials_, gradient_;
  std::vector<Buffer<T>> extras_;  // gradient by z, for each layer
  std::vector<std::unique_ptr<Workspace>> workspaces_;
};

}  // namespace aefast
