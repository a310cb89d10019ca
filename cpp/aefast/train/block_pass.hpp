/// Takes one block of rows through the network in training: reading, forward, loss, backward. The plans of a step
/// (step_plan.hpp) decide which thread takes which block, and in what order.
#pragma once

#include "aefast/core/random.hpp"
#include "objective.hpp"
#include "workspace.hpp"

namespace aefast {

/// The rows of a slice, and the step that layers see.
template <class T>
struct SliceRows {
  const EpochSpec& epoch;
  RowList rows;
  Index n_rows;
  Slice slice;
  Step<T> step;
};

template <class T>
class BlockPass {
 public:
  /// Borrows all arguments but the noise.
  BlockPass(const Network<T>& network, Buffer<T>& params, Buffer<T>& gradient, Objective<T>& objective,
            StepWorkspace<T>& workspace, const NoiseSpec& noise);

  /// Sizes the workspace. Throws std::invalid_argument if there are both a target and a noise.
  void prepare(Index max_rows, const EpochSpec& epoch, Index n_chunks);
  /// Call before the blocks of a slice: weighs its rows and applies the user's noise.
  void begin_slice(const SliceRows<T>& slice);
  /// Call after the blocks of a slice: computes the gradient of the parameters, in tasks that threads share.
  void sum_gradients(const SliceRows<T>& slice, const OnGradient& on_gradient);

  /// Takes a block forward to the loss and back, in networks without batchwise layers.
  void run(const SliceRows<T>& slice, const Block& block, int thread);
  /// The parts of `run`, for layers [first, last).
  void read(const SliceRows<T>& slice, const Block& block);
  void forward(Index first, Index last, const SliceRows<T>& slice, const Block& block);
  void forward_to_loss(Index first, const SliceRows<T>& slice, const Block& block, int thread);
  void backward(Index first, Index last, const SliceRows<T>& slice, const Block& block);
  /// The parts of `forward_to_loss`: the last layer fused with the loss, then the loss of each row from summed terms.
  void forward_fused(const T* target, const SliceRows<T>& slice, const Block& block);
  void finish_losses(const SliceRows<T>& slice, const Block& block);

  /// Leaves the penalties of `n_rows` rows on their codes in `row_penalty`, as in scoring: nothing is dropped or drawn.
  /// Returns those of batchwise layers.
  double code_penalties(const EpochSpec& epoch, const RowList& rows, Index n_rows);
  /// Adds the penalties on the code's outputs, after forward.
  void add_activity(const Block& block);

  Layer<T>& layer(Index i) const { return *network.layers()[static_cast<std::size_t>(i)]; }
  Index n_layers() const { return static_cast<Index>(network.layers().size()); }
  bool has_noise(const EpochSpec& epoch) const { return noise_ || epoch.add_noise; }
  /// True if the loss compares outputs with other values than those that the first layer reads.
  bool has_own_target(const EpochSpec& epoch) const {
    return epoch.target || has_noise(epoch) || epoch.scaling->masks_missing();
  }

  const Network<T>& network;
  Buffer<T>& params;
  Buffer<T>& gradient;
  Objective<T>& objective;
  StepWorkspace<T>& work;

 private:
  void fuse_slopes();
  void read_input(const EpochSpec& epoch, const RowList& rows, const Block& block);
  void add_user_noise(const SliceRows<T>& slice);
  void weigh_rows(const SliceRows<T>& slice);
  void add_contraction(const Block& block, int thread);

  Noise<T> noise_;
  Buffer<double> noisy_rows_;  // of the slice, after the user's noise
  Scaling unscaled_;
};

}  // namespace aefast
