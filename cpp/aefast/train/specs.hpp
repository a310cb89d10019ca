/// What a trainer is asked to do: the objective that it minimises and the rows of an epoch.
#pragma once

#include <cstdint>
#include <functional>

#include "aefast/input/read_block.hpp"
#include "aefast/network/losses.hpp"
#include "noise.hpp"

namespace aefast {

struct ObjectiveSpec {
  Loss loss = SquaredError{};
  double scale = 0;                         // of a row's summed loss; 0 stands for 1 / n_features
  double l1 = 0, l2 = 0;                    // on weights
  double activity_l1 = 0, activity_l2 = 0;  // on the code
  double clip_norm = 0;                     // largest norm of a gradient; 0: no limit
  double threshold = 0;                     // errors up to this size have no gradient
  double contraction = 0;                   // weight of the squared norm of the code's Jacobian
  NoiseSpec noise;
};

/// Changes rows (n x n_features, in the scaled space) in place: a noise that the user programmed.
using NoiseFunction = std::function<void(double* rows, Index n)>;

/// The rows of an epoch and how batches are made of them.
struct EpochSpec {
  InputView input;
  const InputView* target = nullptr;  // what the output is compared with; null: the input
  const Scaling* scaling = nullptr;
  const Index* rows = nullptr;  // null: all
  Index n_rows = 0;
  const double* sample_weight = nullptr;  // by row of the input
  std::uint64_t epoch = 0;
  double learning_rate = 0;
  double beta = 1;  // weight of a variational code's divergence
  Index batch_size = 0;
  bool shuffle = true;
  bool drop_last = false;
  NoiseFunction add_noise;  // empty: none
};

}  // namespace aefast
