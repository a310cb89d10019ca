/// Training, one epoch a call: rows in shuffled order are read into blocks, go forward and backward, and the gradients
/// move the parameters. Two barriers a slice of the batch; the result does not depend on the number of threads.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "aefast/core/parallel.hpp"
#include "aefast/core/random.hpp"
#include "aefast/core/team_choice.hpp"
#include "aefast/input/read_block.hpp"
#include "aefast/network/network.hpp"
#include "contraction.hpp"
#include "noise.hpp"
#include "optimizer.hpp"
#include "penalty.hpp"

namespace aefast {

struct ObjectiveSpec {
  Loss loss = Loss::squared;
  double scale = 0;                         // of a row's summed loss; 0 stands for 1 / n_features
  double l1 = 0, l2 = 0;                    // on weights
  double activity_l1 = 0, activity_l2 = 0;  // on the code
  double clip_norm = 0;                     // 0: gradients are not clipped
  double threshold = 0;                     // errors up to this size are not passed back
  double contraction = 0;                   // weight of the squared norm of the code's Jacobian
  CorruptionSpec corruption;
};

/// Corrupts rows (n x n_features, in the space the network sees) in place.
using CorruptRows = std::function<void(double* rows, Index n)>;

/// The rows of an epoch and how to walk them. `target`, where given, is what the output is compared with.
struct EpochSpec {
  InputView input;
  const InputView* target = nullptr;
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
  CorruptRows corrupt;  // where the user brings a noise of their own
};

template <class T>
class Trainer {
 public:
  Trainer(const NetworkSpec& network, const ObjectiveSpec& objective, const OptimizerSpec& optimizer,
          std::uint64_t seed, int max_threads);

  const Network<T>& network() const { return network_; }
  Buffer<T>& params() { return params_; }
  Buffer<T>& gradient() { return gradient_; }
  Optimizer<T>& optimizer() { return optimizer_; }
  int max_threads() const { return max_threads_; }

  /// The mean over rows of the data loss, as met on the way. `poll` is called between steps.
  double train_epoch(const EpochSpec& epoch, const std::function<void()>& poll);

  /// The mean over rows of the data loss, as in scoring: nothing is dropped, drawn or moved.
  double evaluate(const EpochSpec& epoch) const;

  /// The objective, penalties included, of all rows as one batch; leaves its gradient in `gradient()`.
  double differentiate(const EpochSpec& epoch);

  /// What the objective adds to each row's loss for its code, as in scoring; one on mean activations is that of a
  /// batch of rows around it.
  void penalties(const EpochSpec& epoch, T* to);

 private:
  struct GradientTask {
    Index layer;
    Index index;
  };
  /// Rows of the slices of a batch, but for the last, which has up to twice as many, and of their chunks.
  struct Slicing {
    Index rows;
    Index chunk;
    bool is_apart = false;  // each chunk of a slice has a gradient of its own
  };
  /// Of the flat vector of parameters.
  struct Stretch {
    Index offset;
    Index count;
    bool is_weight;
  };
  /// Layers [first, last) that take rows one by one; between stages stands a batchwise layer.
  struct Stage {
    Index first;
    Index last;
  };

  Slicing slicing(Index n_rows, const EpochSpec& epoch) const;
  void prepare(Index max_rows, const EpochSpec& epoch, Index n_apart = 0);
  void list_rows(const EpochSpec& epoch, const Permutation& shuffled, Index first, Index n);
  double run_batch(const EpochSpec& epoch, const RowList& rows, Index first, Index n_rows, const Slicing& by,
                   const Finished& finished);
  void run_slice(const EpochSpec& epoch, const RowList& rows, Index first, Index n_rows, const Slice& slice,
                 bool is_apart, const Finished& finished);
  void add_losses(Index n_rows, const Slice& slice, double& total) const;
  void read_input(const EpochSpec& epoch, const RowList& rows, const Block& block);
  void read(const EpochSpec& epoch, const RowList& rows, const Block& block, const Step<T>& step);
  void forward(Index first, Index last, const Block& block, const Step<T>& step);
  void forward_slopes(const Block& block, const T* target, const Step<T>& step);
  void differentiate_loss(const EpochSpec& epoch, const RowList& rows, const Block& block, const Step<T>& step,
                          int thread);
  void finish_losses(const EpochSpec& epoch, const RowList& rows, const Block& block, const Step<T>& step);
  void set_blocks(Index n_rows, Index width);
  void weigh_rows(const EpochSpec& epoch, const RowList& rows, Index n_rows, Index n_batch);
  void add_contraction(const Block& block, int thread);
  void add_activity(const Block& block);
  void add_penalties(Index offset, Index count, bool is_weight);
  void backward(Index first, Index last, const Block& block, const Step<T>& step);
  template <class Task>
  void run(Index n_tasks, Task&& task);
  bool shares_layers(Index n_rows, const EpochSpec& epoch) const;
  void pass_layers(const EpochSpec& epoch, const RowList& rows, const Step<T>& step);
  void pass_chunks(const EpochSpec& epoch, const RowList& rows, const Step<T>& step, const Slice& slice,
                   const Finished& finished);
  void pass_stage(const Stage& stage, const EpochSpec& epoch, const RowList& rows, const Block& block,
                  const Step<T>& step, int thread);
  void pass_rows(const EpochSpec& epoch, const RowList& rows, const Step<T>& step);
  int n_threads() const { return pace_.is_alone() ? 1 : team_->size(); }
  void corrupt_rows(const EpochSpec& epoch, const RowList& rows, Index n_rows);
  void clip_and_update();
  T* values(Index boundary, const Block& block) { return at(values_, boundary, block); }
  T* deltas(Index boundary, const Block& block) { return at(deltas_, boundary, block); }
  T* at(std::vector<Buffer<T>>& boundaries, Index boundary, const Block& block) {
    return boundaries[static_cast<std::size_t>(boundary)].data() +
           sizes_[static_cast<std::size_t>(boundary)] * block.first_row;
  }
  Layer<T>& layer(Index i) { return *network_.layers()[static_cast<std::size_t>(i)]; }
  Index n_layers() const { return static_cast<Index>(network_.layers().size()); }
  /// Whether the last layer's product ends with the loss, so that outputs are never stored.
  bool joins_loss(const EpochSpec& epoch) const { return squares_ && !epoch.scaling->masks_missing(); }

  /// Whether a row's loss is the mean over those of its features that are known.
  bool is_mean_of_known(const EpochSpec& epoch) const {
    return epoch.scaling->masks_missing() && objective_.scale == 0;
  }

  Network<T> network_;
  ObjectiveSpec objective_;
  T loss_scale_;
  Corruption<T> corruption_;
  std::optional<Contraction<T>> contraction_;
  const T* contraction_gradient_ = nullptr;
  Penalty<T> weight_penalty_, activity_penalty_;
  Buffer<T> params_, gradient_;
  Optimizer<T> optimizer_;
  std::uint64_t seed_;
  int max_threads_;

  // The workspace of a slice, sized by prepare. Boundary i lies before layer i; the last holds the outputs.
  Index max_rows_ = 0;
  std::unique_ptr<ThreadTeam> team_;
  std::vector<Index> sizes_;
  std::vector<Buffer<T>> values_, deltas_;
  Buffer<T> target_, row_weight_, row_scale_, row_factor_, row_loss_, row_penalty_;
  Buffer<T> panel_loss_;      // of each panel of outputs, by row: what `squares_` leaves
  Buffer<double> corrupted_;  // rows of the batch as a noise of the user's left them
  Scaling unscaled_;
  std::vector<Stage> stages_;
  bool can_share_layers_ = false;  // all of them dense, and nothing done between them
  Dense<T>* squares_ = nullptr;    // the last layer where it can end so: squared errors of outputs as they are
  std::vector<Index> order_;
  std::vector<Block> blocks_;
  std::vector<GradientTask> tasks_;
  std::vector<Stretch> stretches_;  // of the gradients that are added up together
  Buffer<T> apart_;                 // one gradient after the other
  Index n_rows_cut_ = 0;            // of what `blocks_`, and the weights of rows, hold
  Index n_rows_weighed_ = 0, n_batch_weighed_ = 0;
  alignas(kAlignment) Pace pace_;  // written in each step, apart from what all threads read
};

}  // namespace aefast
