/// The loop over epochs as one call: validation, early stopping, and the parameters of the best epoch.
#pragma once

#include <functional>
#include <limits>
#include <vector>

#include "trainer.hpp"

namespace aefast {

struct LoopSpec {
  EpochSpec training;                   // `epoch` is the number of the first pass
  const EpochSpec* held_out = nullptr;  // rows whose loss is monitored; null: that of training
  const EpochSpec* penalised =
      nullptr;  // rows whose mean penalty on the code is added to the monitored loss; null: none
  Index max_epochs = 0;
  bool stops_early = true;  // false: all epochs are run, and the last parameters are kept
  Index patience = 0;       // epochs without improvement after which training stops
  double tol = 0;           // relative decrease of the monitored loss that counts as an improvement
};

/// What the epochs so far have led to. It is complete also if an epoch ends in an exception.
template <class T>
struct EpochHistory {
  std::vector<double> losses, held_out_losses, monitored;  // of each epoch that ended with finite values
  Buffer<T> best;                                          // the parameters to keep
  double best_loss = std::numeric_limits<double>::infinity();
  Index n_passes = 0;         // epochs begun
  bool has_diverged = false;  // the last epoch gave a loss or a parameter that is not finite
  double last_loss = 0, last_held_out = 0;
};

/// Runs epochs until the last one, until the monitored loss stops falling, or until values are no longer finite. `poll`
/// is called between the steps of an epoch.
template <class T>
void run_epochs(Trainer<T>& trainer, const LoopSpec& spec, const std::function<void()>& poll, EpochHistory<T>& history);

}  // namespace aefast
