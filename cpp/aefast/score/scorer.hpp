/// Scoring with a trained network: errors of rows, reasons for them, codes and reconstructions. Rows go through the
/// network in blocks that stay in cache.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "aefast/core/parallel.hpp"
#include "aefast/input/read_block.hpp"
#include "aefast/network/network.hpp"
#include "distances.hpp"
#include "low_precision.hpp"
#include "whitening.hpp"

namespace aefast {

template <class T>
class Scorer {
 public:
  /// Borrows all arguments. A call uses at most `max_threads` threads. `low_precision`, for float alone, replaces the
  /// network's layers.
  Scorer(const Network<T>& network, const T* params, const Scaling& scaling, int max_threads,
         const LowPrecisionNetwork* low_precision = nullptr);
  ~Scorer();

  /// From now on errors are mean squares of W (v - m); whitening.hpp describes the arguments.
  void set_whitening(const double* centre, const double* matrix, const double* usual, const double* deviation);

  /// From now on errors are calibrated scores; distances.hpp describes the arrays.
  void set_distances(const DistanceArrays& arrays);

  /// Writes one error per row: the mean of the loss's terms over features, or their maximum.
  void errors(const InputView& input, Index n_rows, Loss metric, T* to) const;
  /// Writes the parts of calibrated scores, n_rows x 4; see Distances.
  void parts(const InputView& input, Index n_rows, T* to) const;
  /// Writes each row's loss in the training objective: `scale` times the sum of the loss's terms, or their mean if
  /// `scale` is 0, and `beta` times the divergence of a random code, drawn from `seed` and the row's position.
  /// `target`, if not null, has the rows to compare with.
  void losses(const InputView& input, const InputView* target, const RowList& rows, Index n_rows, Loss loss, T scale,
              T beta, std::uint64_t seed, T* to) const;
  /// Writes each feature's contribution to its row's error: n_rows x d, contiguous.
  void feature_errors(const InputView& input, Index n_rows, Loss metric, T* to) const;
  /// The features or columns with the largest contributions to each row's error. Arrays have n_rows x top elements;
  /// `top` is at most kMostReasons.
  struct Reasons {
    Index top;
    T* errors;               // n_rows
    std::int32_t* features;  // largest contribution first, the lower number first if equal; missing values last, with
                             // the number -1 if they are columns
    T* shares;               // contribution / error, in [0, 1]
    T* expected;             // n_rows x top x n_expected of the output stage: the outputs in the units of the input,
                             // then zeros; for a category only the number of its most probable level
    double* values;          // the values of the input; null for columns of several kinds
  };
  static constexpr Index kMostReasons = Ranking<T>::kMost;
  void reasons(const InputView& input, Index n_rows, Loss metric, const Reasons& to) const;
  /// Writes n_rows x code size.
  void encode(const InputView& input, Index n_rows, T* to) const;
  /// Writes n_rows x d outputs computed from codes, in the units of the input.
  void decode(const InputView& codes, Index n_rows, T* to) const;
  /// Writes n_rows x d outputs, in the units of the input or in the scaled space.
  void reconstruct(const InputView& input, Index n_rows, bool in_input_units, T* to) const;
  /// Writes n_rows x (d + code size): the rows in the scaled space, `scaled` (n_rows x d), less the outputs; the code.
  void residuals_and_codes(const InputView& input, Index n_rows, const double* scaled, double* to) const;

 private:
  struct Workspace;
  template <class F>
  void each_block(Index n_rows, F&& f) const;
  std::unique_ptr<Workspace> take_workspace(Index width) const;
  void keep_workspace(std::unique_ptr<Workspace> work) const;
  void read(const InputView& input, const RowList& rows, const Block& block, Workspace& work) const;
  T* pass(const InputView& input, const RowList& rows, const Block& block, Workspace& work) const;
  const T* pass_to_last(const InputView& input, const Block& block, Workspace& work) const;
  T* prepared_pass(const InputView& input, Loss metric, const Block& block, Workspace& work) const;
  bool fused_errors(const InputView& input, Loss metric, const Block& block, Workspace& work) const;
  const T* residual_and_code(const InputView& input, const Block& block, Workspace& work) const;
  const T* whiten(const InputView& input, const Block& block, Workspace& work) const;
  void measure(const InputView& input, bool explains, const Block& block, Workspace& work) const;
  void mean_factors(Loss metric, const Block& block, Workspace& work) const;
  void ranked_errors(const InputView& input, Loss metric, Index top, const Block& block, Workspace& work) const;
  void write_expected(const Block& block, const Workspace& work, const Reasons& to) const;
  template <int kTop>
  void write_reasons(const Block& block, const Workspace& work, const Reasons& to) const;
  void residual(const Block& block, T* output, const Target<T>& target, T* to) const;
  void write_rows(const Block& block, const T* from, Index n_features, bool in_input_units, T* to) const;
  Index n_layers() const { return static_cast<Index>(network_.layers().size()); }
  /// The number of residuals and code units that distances are computed from.
  Index n_joint() const { return whitening_ || distances_ ? network_.n_features() + network_.code_size() : 0; }

  const Network<T>& network_;
  const T* params_;
  const Scaling& scaling_;
  int max_threads_;
  const LowPrecisionNetwork* low_precision_;
  std::optional<Whitening<T>> whitening_;
  std::optional<Distances<T>> distances_;
  std::optional<Scaling> unclipped_;  // how rows are read for distances
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Workspace>> idle_;  // of past calls on few rows
};

}  // namespace aefast
