/// Whitening for Mahalanobis distances: the linear map W (v - m) of v = [r; h], a row's residual r and code h.
#pragma once

#include "aefast/layer/dense.hpp"

namespace aefast {

template <class T>
class Whitening {
 public:
  /// For d = `n_features` residuals and q = `n_code` code units, p = d + q. Matrices are row-major: `centre` m (p),
  /// `matrix` W (p x p), and the `usual` value and the `deviation` (d) of each scaled feature.
  Whitening(Index n_features, Index n_code, const double* centre, const double* matrix, const double* usual,
            const double* deviation);

  /// Writes W (v - m) of a block to `to` (p x width).
  void apply(const Block& block, const T* v, T* to) const;
  /// Adds the squared length of W (v - m) to each row's `totals` (width), which begin at zero. `scratch` has p x width
  /// elements.
  void add_distances(const Block& block, const T* v, T* scratch, T* totals) const;
  /// Writes each row's squared length of z = W (v - m) to `totals` (width).
  void squares(const Block& block, const T* z, T* totals) const;
  /// Writes each feature's contribution to that squared length to `to` (d x width), never negative: its own square
  /// (Garthwaite and Koch 2016), and of the code's squares a part in proportion to the squared distance of the scaled
  /// `row` from the usual one in this feature.
  void contributions(const Block& block, const T* z, const T* row, T* to) const;

 private:
  Index n_features_;
  Index n_params_ = 0;
  Dense<T> layer_;
  Buffer<T> params_;
  Buffer<T> usual_;  // the usual row, then the inverses of the deviations
};

}  // namespace aefast
