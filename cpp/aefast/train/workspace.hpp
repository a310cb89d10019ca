/// The buffers of a training step, sized for the largest slice of a batch, and the threads that fill them.
#pragma once

#include <memory>
#include <vector>

#include "aefast/core/parallel.hpp"
#include "aefast/core/team_choice.hpp"
#include "aefast/network/network.hpp"

namespace aefast {

/// The threads of a step: a team, or one thread alone while that is faster. Denormal numbers count as zero in all of
/// them: improbable levels have such gradients, and the running averages of dead units end at the least of them, which
/// rounding keeps from zero. Processors of Intel take a hundred times as long for each.
class StepTeam {
 public:
  void resize(int n_threads) {
    if (!team_ || team_->size() != n_threads) team_ = std::make_unique<ThreadTeam>(n_threads);
  }
  int size() const { return team_->size(); }
  /// Threads that take part in the next step.
  int n_active() const { return choice_.is_alone() ? 1 : size(); }

  template <class Task>
  void run(Index n_tasks, Task&& task) {
    [[maybe_unused]] const Level::FlushDenormals here;
    if (!choice_.is_alone() && size() > 1) {
      return team_->run(n_tasks, [&](Index i, int thread) {
        [[maybe_unused]] const Level::FlushDenormals there;
        task(i, thread);
      });
    }
    for (Index i = 0; i < n_tasks; ++i) task(i, 0);
  }

  /// Records the duration of a step, from which `n_active` follows.
  void record(double seconds, Index n_rows) {
    if (size() > 1) choice_.add(seconds, n_rows);
  }

 private:
  std::unique_ptr<ThreadTeam> team_;
  alignas(kAlignment) TeamChoice choice_;  // written in each step, so apart from what all threads read
};

template <class T>
class StepWorkspace {
 public:
  /// One call of `Layer::gradient`.
  struct GradientTask {
    Index layer;
    Index index;
  };

  explicit StepWorkspace(const Network<T>& network) : sizes_{network.n_features()} {
    for (const auto& layer : network.layers()) sizes_.push_back(layer->n_out());
  }

  /// Makes room for slices of up to `max_rows` rows. Returns true if the buffers moved.
  bool prepare(const Network<T>& network, Index max_rows, bool has_own_target, Index n_chunks);

  /// Cuts a slice into blocks of `width` rows, with penalties of zero. Keeps blocks that are already right: other
  /// threads would have to read new ones from memory.
  void set_blocks(Index n_rows, Index width, bool has_row_penalties);

  Index max_rows() const { return max_rows_; }
  /// Values and gradients of a block at a boundary: boundary i lies before layer i, the last holds the outputs.
  T* values(Index boundary, const Block& block) { return at(values_, boundary, block); }
  T* deltas(Index boundary, const Block& block) { return at(deltas_, boundary, block); }
  /// The values and gradients of all blocks at a boundary, one block after the other.
  T* values(Index boundary) { return values_[static_cast<std::size_t>(boundary)].data(); }
  T* deltas(Index boundary) { return deltas_[static_cast<std::size_t>(boundary)].data(); }
  /// Elements of values and gradients per row.
  Index row_size() const;

  StepTeam team;
  std::vector<Block> blocks;
  std::vector<GradientTask> tasks;
  Buffer<T> target;                               // of all blocks, if it is not the input
  Buffer<T> row_weight, row_scale, row_factor;    // weight in the batch's loss; times its scale; see row_factors
  Buffer<T> row_loss, row_penalty;                // what each row adds to the objective
  Buffer<T> panel_loss;                           // sums of a fused layer, by panel of outputs and row
  Buffer<T> chunk_gradients;                      // one after the other
  Index n_rows_weighed = 0, n_batch_weighed = 0;  // of row_weight, if rows have equal weights

 private:
  T* at(std::vector<Buffer<T>>& boundaries, Index boundary, const Block& block) {
    const auto i = static_cast<std::size_t>(boundary);
    return boundaries[i].data() + sizes_[i] * block.first_row;
  }

  Index max_rows_ = 0, n_rows_cut_ = 0;
  std::vector<Index> sizes_;
  std::vector<Buffer<T>> values_, deltas_;
};

}  // namespace aefast
