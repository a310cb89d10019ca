/// Training, one epoch a call: rows in shuffled order are read into blocks, go forward and backward, and the gradients
/// move the parameters. The result does not depend on the number of threads.
#pragma once

#include <functional>

#include "optimizer.hpp"
#include "step_plan.hpp"

namespace aefast {

template <class T>
class Trainer {
 public:
  Trainer(const NetworkSpec& network, const ObjectiveSpec& objective, const OptimizerSpec& optimizer,
          std::uint64_t seed, int max_threads);
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  const Network<T>& network() const { return network_; }
  Buffer<T>& params() { return params_; }
  Buffer<T>& gradient() { return gradient_; }
  Optimizer<T>& optimizer() { return optimizer_; }

  /// The mean data loss over rows, as seen during the epoch. `poll` is called between steps.
  double train_epoch(const EpochSpec& epoch, const std::function<void()>& poll);

  /// The mean data loss over rows, as in scoring: without noise, dropout or an update.
  double evaluate(const EpochSpec& epoch) const;

  /// The objective, penalties included, of all rows as one batch; leaves its gradient in `gradient()`.
  double differentiate(const EpochSpec& epoch);

  /// Writes what the objective adds to each row's loss for its code, as in scoring. A penalty on mean activations is
  /// that of a batch of rows around the row.
  void penalties(const EpochSpec& epoch, T* to);
  /// The mean of `penalties`, in which each row has its sample weight.
  double mean_penalty(const EpochSpec& epoch);

 private:
  void prepare(Index max_rows, const EpochSpec& epoch, Index n_chunks = 0);
  void list_rows(const EpochSpec& epoch, const Permutation& shuffled, Index first, Index n);
  void clip_and_update();

  Network<T> network_;
  Buffer<T> params_, gradient_;
  Objective<T> objective_;
  Optimizer<T> optimizer_;
  std::uint64_t seed_;
  int max_threads_;
  StepWorkspace<T> workspace_;
  BlockPass<T> pass_;
  StepPlans<T> plans_;
  std::vector<Index> order_;  // of the next rows
};

}  // namespace aefast
