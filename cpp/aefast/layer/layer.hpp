/// What every layer offers: forward for scoring, forward and backward for training, and the gradient of its parameters
/// in tasks that threads may share.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "aefast/product/weights.hpp"

namespace aefast {

/// What a layer may know of the batch in training. Draws are functions of (seed, epoch, position, feature).
template <class T>
struct Step {
  std::uint64_t seed = 0;
  std::uint64_t epoch = 0;
  Index first_position = 0;       // of the slice's first row in the epoch
  const T* row_weight = nullptr;  // by row of the slice: its weight over the number of rows in the batch
  T beta = 0;                     // weight of a variational code's divergence
  Index chunk = 0;                // rows that gradients sum at a time
};

/// Rows of a batch that go forward and backward, and into the gradients, before the next ones are read: what a large
/// batch computes then stays in the caches. Its rows are summed a chunk at a time, so that slices do not show.
struct Slice {
  Index first_row;  // of the batch, a multiple of the chunk
  Index n_batch;    // rows of the batch
  Index chunk;

  /// Calls f(blocks of a chunk, whether something comes before them) in order.
  template <class F>
  void each_chunk(std::span<const Block> blocks, F&& f) const {
    for (std::size_t first = 0, end = 0; first < blocks.size(); first = end) {
      while (end < blocks.size() && blocks[end].first_row - blocks[first].first_row < chunk) ++end;
      f(blocks.subspan(first, end - first), first_row > 0 || first > 0);
    }
  }
};

/// Called with a finished stretch of the flat gradient, while it is in cache.
using OnGradient = std::function<void(Index offset, Index count, bool penalised)>;

/// Called with outputs that are ready: `n` elements of a block, from element `at` of it on.
template <class T>
using OnOutputs = std::function<void(T* z, Index at, Index n)>;

template <class T>
class Layer {
 public:
  Layer(Index n_in, Index n_out) : n_in_(n_in), n_out_(n_out) {}
  virtual ~Layer() = default;

  Index n_in() const { return n_in_; }
  Index n_out() const { return n_out_; }
  virtual std::vector<Parameter> parameters() const { return {}; }
  /// Multiply-adds of a forward pass over one row.
  virtual Index work() const { return 0; }

  /// out (n_out x width) of a block, from in (n_in x width), as in scoring.
  virtual void forward(const Block& block, const T* params, const T* in, T* out) const = 0;
  /// The same for who needs each output once: `take` is called for some of them after the other.
  virtual void forward_to(const Block& block, const T* params, const T* in, T* out, const OnOutputs<T>& take) const {
    forward(block, params, in, out);
    take(out, 0, n_out_ * block.width);
  }
  /// The same for who needs no more than each row's squared differences from `target`, or from zero where that is null:
  /// adds them to `totals` (width), if the layer can, and says whether. `out` is scratch.
  virtual bool forward_squares(const Block& /*block*/, const T* /*params*/, const T* /*in*/, T* /*out*/,
                               const T* /*target*/, T* /*totals*/) const {
    return false;
  }

  /// Sizes what training remembers between forward and gradient, for slices of up to `max_rows`. `in` and `delta_out`
  /// are where the blocks of a slice will lie, one after the other.
  virtual void prepare(Index /*max_rows*/, const T* /*in*/, const T* /*delta_out*/) {}
  /// Training's forward: may drop or draw, and remembers what backward needs.
  virtual void forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>& step) = 0;
  /// Adds each row's own penalties to `row_loss` (width), after forward_train.
  virtual void add_row_losses(const Block& /*block*/, T /*beta*/, T* /*row_loss*/) const {}
  /// delta_in from delta_out, the gradients by in and by out. delta_out may be changed, to the gradient by the
  /// pre-activation, which `gradient` reads there. A null delta_in is not wanted.
  virtual void backward(const Block& block, const T* params, const T* in, const T* out, T* delta_out, T* delta_in,
                        const Step<T>& step) = 0;

  /// A batchwise layer needs all rows at once. In training, tasks over its features, `in`, `out` and so on being the
  /// first of all blocks, take the place of forward_train and backward.
  virtual Index n_batch_tasks() const { return 0; }
  virtual void forward_batch(Index /*task*/, std::span<const Block> /*blocks*/, T* /*params*/, const T* /*in*/,
                             T* /*out*/) {}
  virtual void backward_batch(Index /*task*/, std::span<const Block> /*blocks*/, const T* /*params*/, const T* /*in*/,
                              const T* /*delta_out*/, T* /*delta_in*/, T* /*gradient*/) {}
  /// What it adds to the objective of the whole batch, after forward_batch.
  virtual double batch_penalty() const { return 0; }

  /// Each task writes its part of `gradient` (flat, laid out as the parameters), summed over the rows of all blocks in
  /// order, and tells `finished`. Slices after a batch's first are added to it, by layers that can.
  virtual Index n_gradient_tasks() const { return 0; }
  virtual void gradient(Index /*task*/, std::span<const Block> /*blocks*/, const Slice& /*slice*/, T* /*gradient*/,
                        const OnGradient& /*finished*/) const {}
  virtual bool takes_slices() const { return n_gradient_tasks() == 0 && n_batch_tasks() == 0; }

 private:
  Index n_in_, n_out_;
};

}  // namespace aefast
