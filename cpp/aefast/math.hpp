/// Vectorised functions that Eigen's packets lack or round too coarsely, for float and double, to a few ulp.
#pragma once

#include <cmath>
#include <limits>

#include "simd.hpp"

namespace aefast {

/// exp(x) - 1 without cancellation: a Taylor series where |x| is small, the difference elsewhere.
template <class T>
Vec<T> expm1(const Vec<T>& x) {
  using V = Vec<T>;
  // Within |x| < 0.35 the first term left out is below half an ulp of x: 0.35^7 / 8! and 0.35^13 / 14!.
  constexpr int kTerms = sizeof(T) == 4 ? 7 : 13;
  V series = T(1);
  for (int k = kTerms; k >= 2; --k) series = fma(series, x * V(T(1) / T(k)), V(T(1)));
  return select(less(abs(x), V(T(0.35))), series * x, exp(x) - V(T(1)));
}

/// log(1 + x) for x in [0, 1], by Kahan's correction of the rounding of 1 + x.
template <class T>
Vec<T> log1p(const Vec<T>& x) {
  using V = Vec<T>;
  const V one(T(1));
  const V u = one + x;
  const V tiny = less(u, V(T(1) + std::numeric_limits<T>::epsilon() / 2));
  return select(tiny, x, log(u) + (x - (u - one)) / u);
}

/// 1 / (1 + exp(-x)), from the exponential that cannot overflow.
template <class T>
Vec<T> sigmoid(const Vec<T>& x) {
  using V = Vec<T>;
  const V one(T(1));
  const V e = exp(-abs(x));
  return select(less(x, V(T(0))), e, one) / (one + e);
}

/// tanh(x) = -t / (t + 2) with t = expm1(-2|x|), and the sign of x.
template <class T>
Vec<T> tanh(const Vec<T>& x) {
  using V = Vec<T>;
  const V t = expm1(abs(x) * V(T(-2)));
  const V magnitude = -t / (t + V(T(2)));
  return select(less(x, V(T(0))), -magnitude, magnitude);
}

/// log(1 + exp(x)).
template <class T>
Vec<T> softplus(const Vec<T>& x) {
  return max(x, Vec<T>(T(0))) + log1p(exp(-abs(x)));
}

/// The error function, lane by lane.
template <class T>
Vec<T> erf(const Vec<T>& x) {
  alignas(kAlignment) T lane[kLanes<T>];
  x.store(lane);
  for (T& value : lane) value = std::erf(value);
  return Vec<T>::load(lane);
}

}  // namespace aefast
