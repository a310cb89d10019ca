/// The calibrated score: the largest of three standardised log distances and a guard of single columns.
///
/// Of a row's v = [r; h], the residuals of m elements and the code (p numbers; m without the code), and its scaled and
/// clipped values y of these elements:
///
///   D = |w|^2 with w = W (v - m)              joint distance
///   J = mean of the 3 smallest |w - c_k|^2    distance from centres
///   P = min_k |y / span - m_k|^2 + s_k        distance from local means of the rows
///   B = the farthest that a value lies beyond its column's range, in units of the column
///   score = max((log D/p - a) / b, the same of J and of P, top + slope log 2B) + log(1 + B)
#pragma once

#include <vector>

#include "aefast/input/scaling.hpp"
#include "linear_map.hpp"

namespace aefast {

/// The arrays of the score as they are stored, row-major and borrowed. In the low-rank form D = |rest (v - m)|^2 -
/// |matrix (v - m)|^2; in the full form W is `matrix`, and `rest` and `back` are null.
struct DistanceArrays {
  std::vector<Index> elements;  // (m) numbers of the inputs that are scored, ascending
  Index n_joint, n_directions, n_centres, n_means;
  const double *centre, *matrix;         // (p), (n_directions x p)
  const double *rest, *back;             // (p), (n_directions)
  const double* centres;                 // (n_centres x p), in the space of w
  const double *span, *means, *spreads;  // (m), (n_means x m), (n_means)
  const double* calibration;             // (3 x 2): median and spread of log D/p, log J and log P
  const double *low, *high, *unit;       // (m), in the units of the input
  double top, slope;
};

template <class T>
class Distances {
 public:
  /// `scaling` is that of all inputs of the network.
  Distances(const Scaling& scaling, const DistanceArrays& arrays);

  /// The buffers of a thread for blocks of up to `width` rows.
  struct Work {
    Work() = default;
    Work(const Distances& distances, Index width);
    Buffer<T> rows;                      // kRows x width
    Buffer<T> residual, inputs;          // of the elements, if these are not all inputs
    Buffer<T> w, products;               // p x width, and the outputs of a map
    Buffer<T> unclipped;                 // n_inputs x width
    std::vector<Index> nearest, local;   // numbers of each row's nearest centres and local mean
    const T *v = nullptr, *y = nullptr;  // of the last block
  };

  Index n_joint() const { return n_joint_; }
  /// Multiply-adds of a row.
  Index work() const { return n_joint_ * (whiten_.n_out() + near_.n_out()) + n_elements() * local_.n_out(); }

  /// Clips the rows of a block (n_inputs x width), which were read without a limit, and keeps how far they lie beyond
  /// the columns' ranges. NaN stays and, if values may be missing, is not beyond. `explains` keeps the rows as well.
  void guard(const Block& block, bool may_miss, bool explains, T* rows, Work& work) const;
  /// Computes D, J and P of a block after `guard`, from the residuals of all inputs and the code, which follows them,
  /// and from the rows (n_inputs x width) with 0 for missing values.
  void measure(const Block& block, const T* joint, const T* rows, Work& work) const;
  /// Writes the scores (width) after `measure`.
  void finish(const Block& block, Work& work, T* to) const;
  /// Writes log D/p, log J, log P and B of each row to `to` (n_rows x 4), after `measure`.
  void parts(const Block& block, const Work& work, T* to) const;
  /// Writes to `terms` (n_inputs x width) what each input adds to the largest part of a row, never negative, and the
  /// sums to `totals` (width), after `finish` of rows that were kept. Of the code's squares an element gets a part in
  /// proportion to its term of P.
  void contributions(const Block& block, Work& work, T* terms, T* totals) const;

 private:
  enum Row : Index { kBeyond, kSquare, kJoint, kCut, kNear, kLocal = kNear + 3, kParts, kRows = kParts + 4 };
  static constexpr Index kNearest = 3;

  Index n_elements() const { return static_cast<Index>(elements_.size()); }
  bool is_low_rank() const { return back_.n_out() > 0; }
  void whiten(const Block& block, Work& work) const;
  Vec<T> distance(Index part, const T* rows, Index width) const;
  void explain(Index part, const T* w, const T* y, const T* unclipped, const Index* nearest, Index mean, Index width,
               T* terms) const;

  std::vector<Index> elements_, others_;  // inputs that are scored, and those that are only clipped
  Index n_joint_;
  T limit_;
  LinearMap<T> whiten_, back_, near_, local_;
  TriangularMap<T> root_;                      // R'R = W'W, in the full form
  Buffer<T> middle_, inverse_unit_, half_;     // of the columns' ranges
  Buffer<T> inverse_span_, offset_;            // from y to z = y / span - the centre of the means
  Buffer<T> centre_, rest_, centres_, means_;  // the means less their centre
  T median_[3], inverse_spread_[3], top_, slope_;
};

}  // namespace aefast
