/// The output stage: the output activation, and the losses of the outputs with their gradients.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "aefast/layer/activation.hpp"
#include "aefast/product/panel.hpp"
#include "losses.hpp"
#include "ranking.hpp"

namespace aefast {

/// The targets of a block (n_features x block width). If values may be missing, NaN marks them; they take no part in
/// any term, sum or gradient.
template <class T>
struct Target {
  const T* values;
  bool has_missing;

  /// The targets from `feature` on.
  Target from(Index feature, Index width) const { return {values + feature * width, has_missing}; }
};

/// Half-open range of features that softmax normalises together.
using Group = std::pair<Index, Index>;

/// Features [begin, end) that stand for one column of a table; `weight` is that of their summed loss.
struct Column {
  Index begin, end;
  double weight;
  bool is_category = false;
};

/// The output activation and the losses of its outputs, for blocks of `n_features` x block width. If loss and
/// activation make a pair (sigmoid with binary crossentropy, softmax with categorical crossentropy), the stage computes
/// from the logits.
///
/// If features stand for columns of several kinds, `groups` are the categorical columns: these have softmax and
/// categorical crossentropy, whatever the activation and the loss. Sums over features are then weighted, and means are
/// over columns.
template <class T>
class OutputStage {
 public:
  OutputStage(Index n_features, const std::string& activation, std::vector<Group> groups, std::vector<Column> columns);

  /// The number of features or columns that a row's terms are averaged over.
  Index n_terms() const { return columns_.empty() ? n_features_ : static_cast<Index>(columns_.size()); }

  /// The columns of a table; empty if each feature is a column.
  const std::vector<Column>& columns() const { return columns_; }

  /// The largest number of outputs that tell the expected value of a column. One output tells a category: the number of
  /// its most probable level.
  Index n_expected() const;

  bool is_identity() const { return runs_.empty() && kind_ != OutputKind::softmax && !activation_.forward; }

  /// Computes outputs from pre-activations, in place.
  void activate(const Block& block, T* z) const;

  /// Computes from pre-activations, in place, what `loss` needs: the outputs or, for a pair, logits (sigmoid) or
  /// logarithms (softmax).
  void prepare(Loss loss, const Block& block, T* z) const;
  /// Computes outputs from what `prepare` left, in place.
  void finish(Loss loss, const Block& block, T* z) const;

  /// Writes every feature's term of the loss to `terms` (n_features x width), from what `prepare` left.
  void terms(Loss loss, const Block& block, const T* z, const Target<T>& target, T* terms) const;

  /// Replaces features' terms by columns' terms (n_columns x width); a missing column gets -1.
  void sum_columns(const Block& block, const Target<T>& target, T* terms) const;
  /// Replaces the first output of each categorical column by the number of its most probable level.
  void name_levels(const Block& block, T* y, Ranking<T>& scratch) const;

  /// Writes each row's sum of terms, or its largest term for LargestError, to `row_loss` (width), from what `prepare`
  /// left.
  void row_losses(Loss loss, const Block& block, const T* z, const Target<T>& target, T* row_loss) const;

  /// True if each feature's term depends on that feature alone, so that `add_losses` can take a few features at a time.
  bool is_separable() const { return runs_.empty() && kind_ != OutputKind::softmax; }

  /// Adds to `row_loss` the terms of some features, from their `n` pre-activations, to which it applies `prepare`.
  /// `target` begins at the first of these features.
  void add_losses(Loss loss, Index width, T* z, Index n, const Target<T>& target, T* row_loss) const;
  /// Does what `add_losses` does, and ranks the terms under the features' numbers from `first` on; missing values have
  /// the term -1. Not for LargestError.
  void rank_losses(Loss loss, Index width, T* z, Index n, const Target<T>& target, Index first, T* row_loss,
                   Ranking<T>& ranking) const;

  /// Writes the factor (width) by which a row's sum over known features becomes one over all: features / known features
  /// (or columns / known columns), 1 if none is missing, 0 if all are.
  void row_factors(const Block& block, const Target<T>& target, T* factor) const;

  /// Writes each row's loss, and to `delta` the gradient of the summed terms by z, times `row_scale` (width). Features
  /// whose error is at most `threshold`, unless that is 0, have no gradient.
  void differentiate(Loss loss, const Block& block, T* z, const Target<T>& target, const T* row_scale, T threshold,
                     T* row_loss, T* delta) const;

 private:
  struct ColumnRun;

  bool from_logits(Loss loss) const;
  void add_prepared(Loss loss, Index width, const T* z, Index n, const Target<T>& target, T* row_loss) const;
  void keep_largest(const Block& block, T* terms) const;
  template <class F>
  void with_loss(Loss loss, bool has_missing, F&& f) const;
  void differentiate_softmax(Loss loss, const Block& block, T* z, const Target<T>& target, const T* row_scale,
                             T* row_loss, T* delta) const;
  void log_softmax(const Block& block, T* z) const;
  void exponentiate(const Block& block, T* z) const;

  Index n_features_;
  OutputKind kind_;
  Activation<T> activation_;
  std::vector<Group> groups_;
  std::vector<Column> columns_;
  std::vector<ColumnRun> runs_;  // empty if each feature is a column
};

/// Neighbouring columns that are treated alike: one categorical column, one column of several numbers, or any number of
/// columns of one number. They have an output stage of their own.
template <class T>
struct OutputStage<T>::ColumnRun {
  Index begin;
  T weight;
  bool is_category;
  bool is_one_column;
  OutputStage stage;

  Loss loss(Loss wanted) const {
    if (is_category) return CategoricalCrossentropy{};
    return is_one_column && is<LargestError>(wanted) ? AbsoluteError{} : wanted;
  }
};

}  // namespace aefast
