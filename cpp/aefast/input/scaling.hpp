/// The map from input units to the scaled space that the network sees.
#pragma once

#include <vector>

#include "aefast/core/types.hpp"

namespace aefast {

/// z = clip((x - shift) / scale, -limit, limit), computed in double for types that float cannot hold exactly.
/// NaN and infinities become `fill` (in the scaled space) if there is one. Otherwise they become NaN, which makes the
/// results of their row NaN, unless `masks_missing` tells readers to leave them out.
///
/// An input column may hold the number of a level. The network reads it as `n_levels` features: 1 for this level, 0 for
/// the others. Larger numbers count as the last level.
class Scaling {
 public:
  /// `n_levels` has for each input column the number of its levels, 0 for a column of numbers; empty if all columns
  /// are numbers. Shift and scale (one for each feature) are not used for levels.
  Scaling(Buffer<double> shift, Buffer<double> scale, double limit, Buffer<double> fill = {},
          bool masks_missing = false, std::vector<Index> n_levels = {});

  /// The identity, but for NaN and infinities.
  static Scaling none(Index n_features);

  /// Returns this map with `limit` in place of its own.
  Scaling with_limit(double limit) const;

  /// The number of features.
  Index size() const { return shift_.size(); }
  /// The number of input columns.
  Index n_inputs() const { return n_levels_.empty() ? size() : static_cast<Index>(n_levels_.size()); }
  bool has_levels() const { return !n_levels_.empty(); }
  /// The number of levels of each input column, 0 for numbers; empty if all are numbers.
  const std::vector<Index>& n_levels() const { return n_levels_; }
  double shift(Index j) const { return shift_[j]; }
  double scale(Index j) const { return scale_[j]; }
  double limit() const { return limit_; }
  bool fills_missing() const { return fill_.size() > 0; }
  double fill(Index j) const { return fill_[j]; }
  bool masks_missing() const { return masks_missing_; }

  /// The map of each input column as (x - high) * inverse + offset. `high` is the shift rounded to C; `offset` corrects
  /// the rounding.
  template <class C>
  struct Terms {
    Buffer<C> high, inverse, offset;
  };
  template <class C>
  const Terms<C>& terms() const {
    if constexpr (sizeof(C) == 4) return single_;
    else return double_;
  }

 private:
  Buffer<double> shift_, scale_;
  double limit_;
  Buffer<double> fill_;
  bool masks_missing_;
  std::vector<Index> n_levels_;
  Terms<float> single_;
  Terms<double> double_;
};

}  // namespace aefast
