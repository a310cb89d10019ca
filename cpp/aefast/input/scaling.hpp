/// The map from input units to the scaled space that the network sees.
#pragma once

#include "aefast/core/types.hpp"

namespace aefast {

/// z = clip((x - shift) / scale, -limit, limit), computed in double for types that float cannot hold exactly.
/// NaN and infinities become `fill` (in the scaled space) if there is one. Otherwise they become NaN, which makes the
/// results of their row NaN, unless `masks_missing` tells readers to leave them out.
class Scaling {
 public:
  Scaling(Buffer<double> shift, Buffer<double> scale, double limit, Buffer<double> fill = {},
          bool masks_missing = false);

  /// The identity, but for NaN and infinities.
  static Scaling none(Index n_features);

  /// The same map with another limit.
  Scaling with_limit(double limit) const;

  Index size() const { return shift_.size(); }
  double shift(Index j) const { return shift_[j]; }
  double scale(Index j) const { return scale_[j]; }
  double limit() const { return limit_; }
  bool fills_missing() const { return fill_.size() > 0; }
  double fill(Index j) const { return fill_[j]; }
  bool masks_missing() const { return masks_missing_; }

  /// The map as (x - high) * inverse + offset. `high` is the shift rounded to C; `offset` corrects the rounding.
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
  Terms<float> single_;
  Terms<double> double_;
};

}  // namespace aefast
