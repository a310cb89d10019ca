/// Vectorised functions that Eigen lacks or computes too coarsely, for float and double, accurate to a few ulp.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "simd.hpp"

namespace aefast {

namespace detail {

/// c[0] x^n + ... + c[n].
template <class T, std::size_t n>
Vec<T> polynomial(const Vec<T>& x, const double (&c)[n]) {
  Vec<T> sum(static_cast<T>(c[0]));
  for (std::size_t i = 1; i < n; ++i) sum = fma(sum, x, Vec<T>(static_cast<T>(c[i])));
  return sum;
}

}  // namespace detail

/// exp(-|x|): Eigen's function, to the bit wherever the result is a normal number. What Eigen does about other
/// arguments takes up to a third of the time. The polynomial is that of Cephes.
inline Vec<float> exp_minus(const Vec<float>& x) {
  using V = Vec<float>;
  constexpr double kFirst[] = {1.9875691500E-4, 1.3981999507E-3, 8.3334519073E-3};
  constexpr double kSecond[] = {4.1665795894E-2, 1.6666665459E-1, 5.0000001201E-1};
  // -|x| = power log 2 + rest, with log 2 in two parts where Eigen has two.
  const V negative = packet::por(x.p, V(-0.0f).p);
  const V power = packet::pfloor(fma(negative, V(1.44269504088896341f), V(0.5f)).p);
  V rest;
  if constexpr (kLanes<float> == 16) rest = fma(power, V(-0.6931471805599453f), negative);
  else rest = fma(power, V(2.12194440e-4f), fma(power, V(-0.693359375f), negative));
  const V square = rest * rest, cube = square * rest;
  const V sum = fma(detail::polynomial(rest, kFirst), cube, detail::polynomial(rest, kSecond));
  return select(less(power, V(-126.0f)), V(0.0f), times_power(fma(sum, square, rest + V(1.0f)), power));
}
inline Vec<double> exp_minus(const Vec<double>& x) { return exp(-abs(x)); }

/// exp(x) - 1 without cancellation: a Taylor series if |x| is small, else the difference.
template <class T>
Vec<T> expm1(const Vec<T>& x) {
  using V = Vec<T>;
  // For |x| < 0.35 the first omitted term is below half an ulp of x: 0.35^7 / 8! and 0.35^13 / 14!.
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
  const auto tiny = less(u, V(T(1) + std::numeric_limits<T>::epsilon() / 2));
  return select(tiny, x, log(u) + (x - (u - one)) / u);
}

/// 1 / (1 + exp(-x)), from the exponential that cannot overflow.
template <class T>
Vec<T> sigmoid(const Vec<T>& x) {
  using V = Vec<T>;
  const V one(T(1));
  const V e = exp_minus(x);
  return select(less(x, V(T(0))), e, one) / (one + e);
}

/// sigmoid(x) and sigmoid(-x), from one exponential.
template <class T>
std::pair<Vec<T>, Vec<T>> sigmoids(const Vec<T>& x) {
  using V = Vec<T>;
  const V zero(T(0)), one(T(1));
  const V e = exp_minus(x), total = one + e;
  return {select(less(x, zero), e, one) / total, select(less(zero, x), e, one) / total};
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
  return max(x, Vec<T>(T(0))) + log1p(exp_minus(x));
}

/// exp(-x^2 / 2) for |x| below 2^8, corrected for the rounding of the square (Dekker 1971).
template <class T>
Vec<T> gaussian(const Vec<T>& x) {
  using V = Vec<T>;
  const V shift(std::ldexp(T(1.5), std::numeric_limits<T>::digits - 1 - 4));  // leaves 4 bits after the point
  const V high = (x + shift) - shift, low = x - high;
  const V square = x * x;
  const V lost = fma(low, high + x, high * high - square);
  const V half(T(-0.5));
  return exp_minus(half * square) * fma(half, lost, V(T(1)));
}

/// log(x), to the bit, of finite x of at least the least normal number. What Eigen does about other numbers takes as
/// long as the logarithm. The polynomial is that of Cephes, as in Eigen's function.
inline Vec<float> log_of_normal(const Vec<float>& x) {
  using V = Vec<float>;
  constexpr std::uint32_t kSignAndMantissa = 0x807fffff;
  constexpr double kFirst[] = {7.0376836292E-2, -1.1514610310E-1, 1.1676998740E-1};
  constexpr double kSecond[] = {-1.2420140846E-1, 1.4249322787E-1, -1.6668057665E-1};
  constexpr double kThird[] = {2.0000714765E-1, -2.4999993993E-1, 3.3333331174E-1};
  const V one(1.0f), half(0.5f);
  // x = mantissa 2^exponent, with the mantissa in [sqrt(1/2), sqrt(2)).
  const V mask = packet::pset1frombits<V::Packet>(kSignAndMantissa);
  const V fraction = packet::por(packet::pand(x.p, mask.p), half.p);
  const auto is_low = less(fraction, V(0.70710678118654752440f));
  const V biased = packet::pfrexp_generic_get_biased_exponent(x.p);
  const V exponent = (biased - V(126.0f)) - mask_and(is_low, one);
  const V z = (fraction - one) + mask_and(is_low, fraction);
  const V square = z * z, cube = square * z;
  V sum = fma(detail::polynomial(z, kFirst), cube, detail::polynomial(z, kSecond));
  sum = fma(sum, cube, detail::polynomial(z, kThird)) * cube;
  return fma(exponent, V(0.69314718055994530942f), z + fma(V(-0.5f), square, sum));
}
inline Vec<double> log_of_normal(const Vec<double>& x) { return log(x); }

/// The upper tail of the standard normal, 1 - Phi(x) = erfc(x / sqrt 2) / 2, for x >= 0, given `density` =
/// exp(-x^2 / 2). Rational approximations of Cody 1969.
template <class T>
Vec<T> normal_tail(const Vec<T>& x, const Vec<T>& density) {
  using V = Vec<T>;
  constexpr double kA[] = {1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
                           3.20937758913846947e3};
  constexpr double kB[] = {1, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
                           2.84423683343917062e3};
  constexpr double kC[] = {2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0,
                           6.61191906371416295e1,  2.98635138197400131e2,  8.81952221241769090e2,
                           1.71204761263407058e3,  2.05107837782607147e3,  1.23033935479799725e3};
  constexpr double kD[] = {1,
                           1.57449261107098347e1,
                           1.17693950891312499e2,
                           5.37181101862009858e2,
                           1.62138957456669019e3,
                           3.29079923573345963e3,
                           4.36261909014324716e3,
                           3.43936767414372164e3,
                           1.23033935480374942e3};
  constexpr double kP[] = {1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
                           1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4};
  constexpr double kQ[] = {1,
                           2.56852019228982242e0,
                           1.87295284992346725e0,
                           5.27905102951428412e-1,
                           6.05183413124413191e-2,
                           2.33520497626869185e-3};
  const V half(T(0.5)), one(T(1));
  const V y = x * V(T(0.70710678118654752440)), square = y * y;
  const V near = half - half * y * detail::polynomial(square, kA) / detail::polynomial(square, kB);
  const V inside = min(y, V(T(4)));
  const V middle = half * density * detail::polynomial(inside, kC) / detail::polynomial(inside, kD);
  const V outside = max(y, V(T(4))), inverse = one / (outside * outside);
  const V series =
      V(T(0.56418958354775628695)) - inverse * detail::polynomial(inverse, kP) / detail::polynomial(inverse, kQ);
  const V far = half * density * series / outside;
  return select(less(y, V(T(0.46875))), near, select(less(y, V(T(4))), middle, far));
}

}  // namespace aefast
