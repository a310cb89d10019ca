/// The interface of layers: forward for scoring, forward and backward for training, and the gradient of the parameters
/// in tasks, which may run on several threads.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "aefast/product/weights.hpp"

namespace aefast {

/// The state of a training step. Random numbers are functions of (seed, epoch, position, feature).
template <class T>
struct Step {
  std::uint64_t seed = 0;
  std::uint64_t epoch = 0;
  Index first_position = 0;       // position in the epoch of the slice's first row
  const T* row_weight = nullptr;  // by row of the slice: sample weight / rows of the batch
  T beta = 0;                     // weight of a variational code's divergence
  Index chunk = 0;                // rows whose gradients are summed together
};

/// Rows of a batch that go forward, backward and into the gradients before the next ones are read, so that the values
/// of a large batch stay in the caches. Gradients are summed chunk by chunk, so that slices do not change any bit.
struct Slice {
  Index first_row;  // in the batch, a multiple of the chunk
  Index n_batch;    // rows of the batch
  Index chunk;

  /// Calls f(blocks of a chunk, true if a chunk precedes it) for all chunks in order.
  template <class F>
  void each_chunk(std::span<const Block> blocks, F&& f) const {
    for (std::size_t first = 0, end = 0; first < blocks.size(); first = end) {
      while (end < blocks.size() && blocks[end].first_row - blocks[first].first_row < chunk) ++end;
      f(blocks.subspan(first, end - first), first_row > 0 || first > 0);
    }
  }
};

/// Called for a finished range of the flat gradient, while it is in cache.
using OnGradient = std::function<void(Index offset, Index count, bool penalised)>;

/// Called for finished outputs: `n` elements of a block, from its element `at` on.
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
  /// Outputs that batch normalisation treats apart: all or, of an image, those of different channels.
  virtual Index n_channels() const { return n_out_; }
  /// Multiply-adds of a forward pass per row.
  virtual Index work() const { return 0; }

  /// Computes out (n_out x width) of a block from in (n_in x width), as in scoring.
  virtual void forward(const Block& block, const T* params, const T* in, T* out) const = 0;
  /// Computes what `forward` does, and calls `on_outputs` for a few outputs at a time, while they are in cache.
  virtual void forward_to(const Block& block, const T* params, const T* in, T* out,
                          const OnOutputs<T>& on_outputs) const {
    forward(block, params, in, out);
    on_outputs(out, 0, n_out_ * block.width);
  }
  /// Adds the squared differences of the outputs from `target` to each row's `totals` (width), without storing outputs;
  /// a null target stands for zeros. Returns false if the layer cannot. `out` is scratch.
  virtual bool forward_squares(const Block& /*block*/, const T* /*params*/, const T* /*in*/, T* /*out*/,
                               const T* /*target*/, T* /*totals*/) const {
    return false;
  }

  /// Allocates what training remembers between forward and gradient, for slices of up to `max_rows`. The blocks of a
  /// slice will be stored one after the other from `in` and `delta_out` on.
  virtual void prepare(Index /*max_rows*/, const T* /*in*/, const T* /*delta_out*/) {}
  /// Forward in training: may drop or draw, and remembers what `backward` needs.
  virtual void forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>& step) = 0;
  /// Adds each row's penalties to `row_loss` (width), after forward_train.
  virtual void add_row_losses(const Block& /*block*/, T /*beta*/, T* /*row_loss*/) const {}
  /// Computes delta_in from delta_out, the gradients by `in` and by `out`. May change delta_out to the gradient by the
  /// pre-activation, which `gradient` reads there. If delta_in is null, it is not computed.
  virtual void backward(const Block& block, const T* params, const T* in, const T* out, T* delta_out, T* delta_in,
                        const Step<T>& step) = 0;

  /// The number of tasks of a batchwise layer, which needs all rows at once. In training, forward_batch and
  /// backward_batch for each task replace forward_train and backward; their pointers are to the first of all blocks.
  virtual Index n_batch_tasks() const { return 0; }
  virtual void forward_batch(Index /*task*/, std::span<const Block> /*blocks*/, T* /*params*/, const T* /*in*/,
                             T* /*out*/) {}
  virtual void backward_batch(Index /*task*/, std::span<const Block> /*blocks*/, const T* /*params*/, const T* /*in*/,
                              const T* /*delta_out*/, T* /*delta_in*/, T* /*gradient*/) {}
  /// The penalty that a batchwise layer adds to the objective of the batch, after forward_batch.
  virtual double batch_penalty() const { return 0; }

  /// The number of tasks of `gradient`. Each writes some elements of the flat gradient, summed over the rows of all
  /// blocks in order, and calls `on_gradient`. Layers that take slices add later slices of a batch to the first.
  virtual Index n_gradient_tasks() const { return 0; }
  virtual void gradient(Index /*task*/, std::span<const Block> /*blocks*/, const Slice& /*slice*/, T* /*gradient*/,
                        const OnGradient& /*on_gradient*/) const {}
  virtual bool takes_slices() const { return n_gradient_tasks() == 0 && n_batch_tasks() == 0; }

 private:
  Index n_in_, n_out_;
};

}  // namespace aefast
