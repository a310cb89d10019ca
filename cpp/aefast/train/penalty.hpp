/// The l1 and l2 penalties on weights and on the code: value and gradient.
#pragma once

#include "aefast/simd/simd.hpp"

namespace aefast {

/// l1 |x| + l2/2 x^2 over each element x.
template <class T>
struct Penalty {
  T l1 = 0;
  T l2 = 0;

  explicit operator bool() const { return l1 != 0 || l2 != 0; }

  double value(const T* x, Index n) const {
    double total = 0;
    for (Index i = 0; i < n; ++i) {
      const double xi = static_cast<double>(x[i]);
      total += static_cast<double>(l1) * std::abs(xi) + static_cast<double>(l2) / 2 * xi * xi;
    }
    return total;
  }

  /// Adds the gradient, times `scale`.
  void add_gradient(const T* x, Index n, const Vec<T>& scale, T* gradient) const {
    const Vec<T> first(l1), second(l2);
    map(
        gradient, n, [&](const Vec<T>& g, const Vec<T>& v) { return fma(scale, first * sign(v) + second * v, g); },
        gradient, x);
  }
};

}  // namespace aefast
