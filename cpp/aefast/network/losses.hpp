/// Each loss: its value and its gradient by the output, side by side; and the output stage, where the last
/// pre-activations meet the target.
#pragma once

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "aefast/layer/activation.hpp"
#include "aefast/product/panel.hpp"
#include "ranking.hpp"

namespace aefast {

// y is the output, t the target, both `Vec<T>`; `slope` is d value / d y. `add`, where a value is a product, is
// total + value rounded once, whatever else becomes of the value.
// clang-format off
struct SquaredError {
  template <class V> static V value(const V& y, const V& t) { const V r = y - t; return r * r; }
  template <class V> static V add(const V& y, const V& t, const V& total) { const V r = y - t; return fma(r, r, total); }
  template <class V> static V slope(const V& y, const V& t) { const V r = y - t; return r + r; }
};

struct AbsoluteError {
  template <class V> static V value(const V& y, const V& t) { return abs(y - t); }
  template <class V> static V slope(const V& y, const V& t) { return sign(y - t); }
};

/// Huber 1964 with delta = 1.
struct Huber {
  template <class V> static V value(const V& y, const V& t) {
    using T = decltype(sum(y));
    const V a = abs(y - t), inside = min(a, V(1));
    return inside * (a - V(T(0.5)) * inside);
  }
  template <class V> static V add(const V& y, const V& t, const V& total) {
    using T = decltype(sum(y));
    const V a = abs(y - t), inside = min(a, V(1));
    return fma(inside, a - V(T(0.5)) * inside, total);
  }
  template <class V> static V slope(const V& y, const V& t) { return max(min(y - t, V(1)), V(-1)); }
};

/// A target of a crossentropy kept in [0, 1]; what it is off by counts in full, so that no row far outside looks normal.
template <class V> V probability(const V& t) { return max(min(t, V(1)), V(0)); }

/// In nats, for outputs that are probabilities, kept off 0 and 1.
struct BinaryCrossentropy {
  template <class V> static V inside(const V& y) {
    using T = decltype(sum(y));
    constexpr T kEdge = std::numeric_limits<T>::epsilon();
    return max(min(y, V(1 - kEdge)), V(kEdge));
  }
  template <class V> static V value(const V& y, const V& t) {
    const V p = inside(y), q = probability(t);
    return abs(t - q) - (q * log(p) + (V(1) - q) * log(V(1) - p));
  }
  template <class V> static V slope(const V& y, const V& t) {
    const V p = inside(y);
    return (p - probability(t)) / (p * (V(1) - p));
  }
};

/// The same from the logit z of a sigmoid output: exact at any z.
struct BinaryCrossentropyOfLogits {
  template <class V> static V value(const V& z, const V& t) {
    const V q = probability(t);
    return fma(-z, q, softplus(z)) + abs(t - q);
  }
  template <class V> static V slope(const V& z, const V& t) { return sigmoid(z) - probability(t); }
};

/// The same from the logarithm l of a softmax output; a feature's term is -t l. The gradient is that by the logits
/// (loss.cpp).
struct CategoricalCrossentropyOfLogs {
  template <class V> static V value(const V& l, const V& t) {
    const V q = probability(t);
    return abs(t - q) - q * l;
  }
};

/// In nats; a feature's term is -t log y.
struct CategoricalCrossentropy {
  template <class V> static V inside(const V& y) { return max(y, V(std::numeric_limits<decltype(sum(y))>::min())); }
  template <class V> static V value(const V& y, const V& t) {
    return CategoricalCrossentropyOfLogs::value(log(inside(y)), t);
  }
  template <class V> static V slope(const V& y, const V& t) { return -probability(t) / inside(y); }
};

enum class Loss { squared, absolute, huber, binary_crossentropy, categorical_crossentropy, maximum };

inline Loss find_loss(const std::string& name) {
  if (name == "mse" || name == "mahalanobis") return Loss::squared;
  if (name == "mae") return Loss::absolute;
  if (name == "huber") return Loss::huber;
  if (name == "binary_crossentropy") return Loss::binary_crossentropy;
  if (name == "categorical_crossentropy") return Loss::categorical_crossentropy;
  if (name == "max") return Loss::maximum;
  throw std::invalid_argument("unknown loss or metric '" + name + "'");
}

/// A loss that says nothing where the target is not known.
template <class L>
struct OfKnown : L {
  template <class V> static V value(const V& y, const V& t) { return mask_and(is_known(t), L::value(y, t)); }
  template <class V> static V add(const V& y, const V& t, const V& total) = delete;
  template <class V> static V slope(const V& y, const V& t) { return mask_and(is_known(t), L::slope(y, t)); }
};
// clang-format on

template <class L>
inline constexpr bool kSkipsMissing = false;
template <class L>
inline constexpr bool kSkipsMissing<OfKnown<L>> = true;

/// What the outputs of a block are compared with (n_features x block width). Where values may be missing, NaN marks
/// them: they have no part in any term, sum or gradient.
template <class T>
struct Target {
  const T* values;
  bool has_missing;

  /// The same from a feature on.
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

/// The output activation, and the losses of its outputs. Works on blocks of `n_features` x block width. Where loss and
/// activation make a pair (sigmoid with binary, softmax with categorical crossentropy) it computes from the logits.
///
/// Where features stand for columns of several kinds, those of `groups` are categories whatever the activation and the
/// loss: softmax and categorical crossentropy. Sums over features are then weighted, and means are over columns.
template <class T>
class OutputStage {
 public:
  OutputStage(Index n_features, const std::string& activation, std::vector<Group> groups, std::vector<Column> columns);

  /// What a row's terms are averaged over: features, or columns.
  Index n_terms() const { return columns_.empty() ? n_features_ : static_cast<Index>(columns_.size()); }

  /// None where features are columns of their own.
  const std::vector<Column>& columns() const { return columns_; }

  /// Outputs that say what is expected of any column: of a category one, the number of a level.
  Index n_expected() const;

  bool is_identity() const { return parts_.empty() && !is_softmax_ && !activation_.forward; }

  /// Pre-activations to outputs, in place.
  void activate(const Block& block, T* z) const;

  /// Pre-activations to what `loss` is computed from, in place: the outputs or, of a pair, the logits or their
  /// logarithms; and these to the outputs.
  void prepare(Loss loss, const Block& block, T* z) const;
  void finish(Loss loss, const Block& block, T* z) const;

  /// Leaves every feature's term of the loss in `terms` (n_features x width), from what `prepare` made.
  void terms(Loss loss, const Block& block, const T* z, const Target<T>& target, T* terms) const;

  /// Columns' terms (n_columns x width) in place of their features'; missing ones count as -1.
  void sum_columns(const Block& block, const Target<T>& target, T* terms) const;
  /// The number of its most probable level in place of the first output of each category.
  void name_levels(const Block& block, T* y, Ranking<T>& scratch) const;

  /// Adds each row's terms up in `row_loss` (width); for `Loss::maximum` the largest. From what `prepare` made.
  void row_losses(Loss loss, const Block& block, const T* z, const Target<T>& target, T* row_loss) const;

  /// Whether that may be had from a few features after the other, by `add_losses`: each feature's term is its own.
  bool is_separable() const { return parts_.empty() && !is_softmax_; }

  /// Adds the terms of some features, n pre-activations that `prepare` is applied to, to `row_loss`. `target` begins at
  /// the first.
  void add_losses(Loss loss, Index width, T* z, Index n, const Target<T>& target, T* row_loss) const;
  /// The same but for `Loss::maximum`, and ranks the terms, which are those of features from `first` on; missing ones
  /// count as -1.
  void rank_losses(Loss loss, Index width, T* z, Index n, const Target<T>& target, Index first, T* row_loss,
                   Ranking<T>& ranking) const;

  /// What makes each row's sum over known features one over all of them (width): features / known ones (or columns), 1
  /// where none is missing, 0 where all are.
  void row_factors(const Block& block, const Target<T>& target, T* factor) const;

  /// The same, and `delta` = the gradient of the summed terms by z, times `row_scale` (width). Features whose output is
  /// off by no more than `threshold`, where that is not 0, pass nothing back.
  void differentiate(Loss loss, const Block& block, T* z, const Target<T>& target, const T* row_scale, T threshold,
                     T* row_loss, T* delta) const;

 private:
  struct Part;

  bool from_logits(Loss loss) const;
  void add_prepared(Loss loss, Index width, const T* z, Index n, const Target<T>& target, T* row_loss) const;
  void keep_largest(const Block& block, T* terms) const;
  template <class F>
  void with_pair(Loss loss, bool has_missing, F&& f) const;
  void differentiate_softmax(Loss loss, const Block& block, T* z, const Target<T>& target, const T* row_scale,
                             T* row_loss, T* delta) const;
  void log_softmax(const Block& block, T* z) const;
  void exponentiate(const Block& block, T* z) const;

  Index n_features_;
  bool is_sigmoid_, is_softmax_;
  Activation<T> activation_;
  std::vector<Group> groups_;
  std::vector<Column> columns_;
  std::vector<Part> parts_;  // of columns of several kinds; else none
};

/// Columns side by side whose features are taken alike: a stage of its own.
template <class T>
struct OutputStage<T>::Part {
  Index begin;
  T weight;
  bool is_category;
  bool is_one;  // column, of any number of features
  OutputStage stage;

  Loss loss(Loss wanted) const {
    if (is_category) return Loss::categorical_crossentropy;
    return is_one && wanted == Loss::maximum ? Loss::absolute : wanted;
  }
};

}  // namespace aefast
