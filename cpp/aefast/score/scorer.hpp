/// A trained network for reading: rows go through in blocks that stay in cache, and leave one error each, their codes
/// or their reconstructions.
#pragma once

#include <optional>

#include "aefast/core/parallel.hpp"
#include "aefast/input/read_block.hpp"
#include "aefast/network/network.hpp"
#include "low_precision.hpp"

namespace aefast {

template <class T>
class Scorer {
 public:
  /// Borrows everything. `max_threads` is the most that a call may use. `reduced`, for float alone, takes the place of
  /// the network's layers.
  Scorer(const Network<T>& network, const T* params, const Scaling& scaling, int max_threads,
         const ReducedNetwork* reduced = nullptr)
      : network_(network), params_(params), scaling_(scaling), max_threads_(max_threads), reduced_(reduced) {}

  /// Errors are then mean squares of W (v - m) for v = [r; h], residual and code, of p = d + q elements. All row-major:
  /// `centre` m (p) and `whitening` W (p x p); for `feature_errors`, `usual` and `deviation` (d) of a scaled row.
  void set_whitening(const double* centre, const double* whitening, const double* usual, const double* deviation);

  /// One error a row: the mean over features of the loss's terms, or their maximum.
  void errors(const InputView& input, Index n_rows, Loss metric, T* to) const;
  /// A row's part of the training objective: `scale` times the sum of the loss's terms (0: their mean) and, where the
  /// code is drawn, `beta` times its divergence; the draws follow from `seed` and the row's place. `target`, where
  /// given, has the rows to compare with.
  void losses(const InputView& input, const InputView* target, const RowList& rows, Index n_rows, Loss loss, T scale,
              T beta, std::uint64_t seed, T* to) const;
  /// n_rows x d, contiguous: each feature's share of its row's error.
  void feature_errors(const InputView& input, Index n_rows, Loss metric, T* to) const;
  /// The features, or columns, with the largest shares of each row's error.
  struct Reasons {
    Index top;               // how many of a row, at most kMostReasons
    T* errors;               // n_rows
    std::int32_t* features;  // n_rows x top, largest share first, of equal ones the first; missing values come last,
                             // and are -1 where they are columns
    T* shares;               // n_rows x top, of the row's error: 0 to 1
    T* expected;     // n_rows x top x stage's n_expected, the outputs there in the input's units, then zeros; of a
                     // category alone the number of its most probable level
    double* values;  // n_rows x top, what the input has there; null for columns of several kinds
  };
  static constexpr Index kMostReasons = Ranking<T>::kMost;
  void reasons(const InputView& input, Index n_rows, Loss metric, const Reasons& to) const;
  /// n_rows x code size.
  void encode(const InputView& input, Index n_rows, T* to) const;
  /// n_rows x d, from codes, in the input's units.
  void decode(const InputView& codes, Index n_rows, T* to) const;
  /// n_rows x d, in the input's units or in the scaled space.
  void reconstruct(const InputView& input, Index n_rows, bool in_input_units, T* to) const;

 private:
  struct Workspace;
  template <class F>
  void each_block(Index n_rows, F&& f) const;
  void read(const InputView& input, const RowList& rows, const Block& block, Workspace& work) const;
  T* pass(const InputView& input, const RowList& rows, const Block& block, Workspace& work) const;
  const T* pass_to_last(const InputView& input, const Block& block, Workspace& work) const;
  T* prepared_pass(const InputView& input, Loss metric, const Block& block, Workspace& work) const;
  bool fused_errors(const InputView& input, Loss metric, const Block& block, Workspace& work) const;
  const T* residual_and_code(const InputView& input, const Block& block, Workspace& work) const;
  const T* whitened(const InputView& input, const Block& block, Workspace& work) const;
  void row_shares(Loss metric, const Block& block, Workspace& work) const;
  void add_squares(const Block& block, const T* z, T* totals) const;
  void share_squares(const Block& block, const T* z, const T* row, T* to) const;
  void ranked_errors(const InputView& input, Loss metric, Index top, const Block& block, Workspace& work) const;
  void write_expected(const Block& block, const Workspace& work, const Reasons& to) const;
  template <int kTop>
  void write_reasons(const Block& block, const Workspace& work, const Reasons& to) const;
  void residual(const Block& block, T* output, const Target<T>& target, T* to) const;
  void write_rows(const Block& block, const T* from, Index n_features, bool in_input_units, T* to) const;
  Index n_layers() const { return static_cast<Index>(network_.layers().size()); }
  Index n_joint() const { return network_.n_features() + network_.code_size(); }

  const Network<T>& network_;
  const T* params_;
  const Scaling& scaling_;
  int max_threads_;
  const ReducedNetwork* reduced_;
  /// A linear map after the network.
  struct Map {
    Map(Index n_in, Index n_out) : layer(n_in, n_out, Activation<T>{}, n_params), params(n_params) {}
    void set(const double* weights, const double* bias);

    Index n_params = 0;
    Dense<T> layer;
    Buffer<T> params;
  };
  std::optional<Map> whitening_;
  Buffer<T> usual_;  // row, then the inverse of its deviation
};

}  // namespace aefast
