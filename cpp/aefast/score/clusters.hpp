/// Centres and local means of rows, which distances from what is usual are measured from. The result does not depend on
/// threads: one thread adds up rows in their order.
#pragma once

#include "linear_map.hpp"

namespace aefast {

/// Rows (n x d) with weights, in double precision.
class Clusters {
 public:
  /// Borrows rows, row-major, and weights (n); without weights all rows count the same.
  Clusters(const double* rows, Index n_rows, Index n_columns, const double* weights);

  /// Moves centres (k x d) by steps of Lloyd's algorithm (k-means). From the second step on the share `trimmed` of the
  /// rows, those with the largest mean distance from their three nearest centres, moves none.
  void move_centres(double* centres, Index k, Index n_steps, double trimmed) const;

  /// Writes for each anchor (k x d) the mean of the nearest rows that have the share `mass` of all (k x d), and their
  /// mean squared distance from it (k).
  void local_means(const double* anchors, Index k, double mass, double* means, double* spreads) const;

  /// Writes for each row the least of its squared distance from a mean plus that mean's spread.
  void power_distances(const double* means, const double* spreads, Index k, double* to) const;

 private:
  template <class End, class F>
  void each_block(const double* centres, Index k, End&& end_of, F&& f) const;
  template <class F>
  void each_block(const double* centres, Index k, F&& f) const;
  template <int kCount>
  void find_centres(const double* centres, Index k, double* nearest, double* means) const;
  double weight(Index i) const { return weights_ ? weights_[i] : 1.0; }
  void leave_out_farthest(const Buffer<double>& distances, double share, Buffer<double>& label) const;
  void find_nearest(const double* distances, double mass, double* share) const;

  const double* rows_;
  Index n_rows_, n_columns_;
  const double* weights_;
  double total_weight_ = 0;
  Buffer<double> blocks_, squares_;  // the rows in blocks, and their squared lengths
};

}  // namespace aefast
