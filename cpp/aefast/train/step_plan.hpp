/// How the rows of a batch become a gradient. A batch is cut into slices, and a plan shares the work of a slice among
/// threads. All plans compute the same result; `StepPlans` chooses the fastest.
#pragma once

#include <memory>

#include "block_pass.hpp"

namespace aefast {

/// How a batch is cut into slices, chosen once per epoch. It does not depend on the number of active threads, because
/// chunks decide the order of sums.
struct Slicing {
  Index rows;                // of a slice; the last slice has up to twice as many
  Index chunk;               // rows whose gradients are summed together, see Slice
  bool is_by_chunk = false;  // threads share a slice by its chunks

  Index n_rows_of_slice(Index n_left) const { return n_left < 2 * rows ? n_left : rows; }
};

template <class T>
class StepPlan {
 public:
  explicit StepPlan(BlockPass<T>& pass) : pass_(pass) {}
  virtual ~StepPlan() = default;

  /// Rows of a block when the plan runs on a slice of `n_rows`.
  virtual Index block_width(Index n_rows) const = 0;
  /// Leaves the loss of each row in the workspace, and the gradient after the batch's last slice. Calls `on_gradient`
  /// for each finished range of it.
  virtual void run(const SliceRows<T>& slice, const OnGradient& on_gradient) = 0;

 protected:
  /// Rows per block, for at least `n_blocks` nearly equal blocks. Contraction needs blocks of a fixed width.
  Index even_width(Index n_rows, Index n_blocks) const {
    if (pass_.objective.contraction) return kPanel<T>;
    n_blocks = std::max(n_blocks, (n_rows + kPanel<T> - 1) / kPanel<T>);
    return round_up((n_rows + n_blocks - 1) / n_blocks, kLanes<T>);
  }

  BlockPass<T>& pass_;
};

/// The plans for the steps of one network.
template <class T>
class StepPlans {
 public:
  explicit StepPlans(BlockPass<T>& pass);
  ~StepPlans();

  /// The slices of batches of up to `n_rows` rows.
  Slicing slicing(Index n_rows, const EpochSpec& epoch, int max_threads) const;
  /// The plan for a slice of `n_rows` rows, with the threads that are active now.
  StepPlan<T>& choose(const Slicing& slicing, Index n_rows, const EpochSpec& epoch);
  /// Sums the loss of a batch over its rows and leaves its gradient. `first` is the position of its first row in the
  /// epoch.
  double run_batch(const Slicing& slicing, const EpochSpec& epoch, const RowList& rows, Index first, Index n_rows,
                   std::uint64_t seed, const OnGradient& on_gradient);

 private:
  struct All;

  BlockPass<T>& pass_;
  std::unique_ptr<All> all_;
};

}  // namespace aefast
