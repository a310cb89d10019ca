/// Each activation beside its derivative. Most derivatives follow from the output; the others (gelu, silu) keep the
/// slope while the input is at hand.
#pragma once

#include <stdexcept>
#include <string>

#include "aefast/simd/vector_math.hpp"

namespace aefast {

// clang-format off
struct Identity {
  template <class V> static V value(const V& z) { return z; }
  template <class V> static V slope(const V&) { return V(1); }
  template <class V> static V curvature(const V&) { return V(0); }
};

struct Sigmoid {
  template <class V> static V value(const V& z) { return sigmoid(z); }
  template <class V> static V slope(const V& y) { return y * (V(1) - y); }
  template <class V> static V curvature(const V& y) { return y * (V(1) - y) * (V(1) - y - y); }
};

struct Tanh {
  template <class V> static V value(const V& z) { return tanh(z); }
  template <class V> static V slope(const V& y) { return V(1) - y * y; }
  template <class V> static V curvature(const V& y) { return (y * y - V(1)) * (y + y); }
};

struct Relu {
  template <class V> static V value(const V& z) { return max(z, V(0)); }
  template <class V> static V slope(const V& y) { return mask_and(less(V(0), y), V(1)); }
  template <class V> static V curvature(const V&) { return V(0); }
};

struct LeakyRelu {
  template <class V> static V value(const V& z) { return max(z, z * V(decltype(sum(z))(0.01))); }
  template <class V> static V slope(const V& y) { return select(less(V(0), y), V(1), V(decltype(sum(y))(0.01))); }
  template <class V> static V curvature(const V&) { return V(0); }
};

/// Clevert et al. 2016, eq. 15, with alpha = 1.
struct Elu {
  template <class V> static V value(const V& z) { return select(less(V(0), z), z, expm1(min(z, V(0)))); }
  template <class V> static V slope(const V& y) { return select(less(V(0), y), V(1), y + V(1)); }
  template <class V> static V curvature(const V& y) { return select(less(V(0), y), V(0), y + V(1)); }
};

/// Klambauer et al. 2017, eq. 2.
struct Selu {
  static constexpr double kLambda = 1.0507009873554804934193349852946;
  static constexpr double kAlpha = 1.6732632423543772848170429916717;
  template <class V> static V value(const V& z) {
    using T = decltype(sum(z));
    return V(T(kLambda)) * select(less(V(0), z), z, V(T(kAlpha)) * expm1(min(z, V(0))));
  }
  template <class V> static V slope(const V& y) {
    using T = decltype(sum(y));
    return select(less(V(0), y), V(T(kLambda)), y + V(T(kLambda * kAlpha)));
  }
  template <class V> static V curvature(const V& y) {
    using T = decltype(sum(y));
    return select(less(V(0), y), V(0), y + V(T(kLambda * kAlpha)));
  }
};

struct Softplus {
  template <class V> static V value(const V& z) { return softplus(z); }
  /// sigmoid(z) = 1 - exp(-softplus(z)).
  template <class V> static V slope(const V& y) { return -expm1(-y); }
  template <class V> static V curvature(const V& y) { const V s = -expm1(-y); return s * (V(1) - s); }
};

/// Hendrycks and Gimpel 2016: z Phi(z), exact.
struct Gelu {
  template <class V> static V value(const V& z, V& slope, V& curvature) {
    using T = decltype(sum(z));
    const V density = gaussian(max(min(z, V(T(64))), V(T(-64)))), tail = normal_tail(abs(z), density);
    const V cdf = select(less(z, V(0)), tail, V(1) - tail);
    const V pdf = V(T(0.39894228040143267794)) * density;
    slope = fma(z, pdf, cdf);
    curvature = pdf * (V(2) - z * z);
    return z * cdf;
  }
};

/// Elfwing et al. 2018: z sigmoid(z).
struct Silu {
  template <class V> static V value(const V& z, V& slope, V& curvature) {
    const V s = sigmoid(z), rest = sigmoid(-z);
    slope = s * fma(z, rest, V(1));
    curvature = s * rest * fma(z, rest - s, V(2));
    return z * s;
  }
};
// clang-format on

/// An activation over arrays: `n` is a multiple of the lanes, pointers are aligned.
template <class T>
struct Activation {
  /// In place, z to y.
  void (*forward)(T* z, Index n);
  /// In place, z to y, leaving in `slopes` what `backward` needs; null where the output is enough.
  void (*forward_keep)(T* z, T* slopes, Index n);
  /// delta *= derivative, from the output or, where `forward_keep` exists, from the slopes.
  void (*backward)(T* delta, const T* kept, Index n);
  /// From z, the first and the second derivative.
  void (*derivatives)(const T* z, T* first, T* second, Index n);
  /// Whether products may end with it (gemm.hpp).
  bool is_relu = false;

  bool keeps_slopes() const { return forward_keep != nullptr; }
};

namespace detail {

template <class T, class A>
Activation<T> from_output() {
  using V = Vec<T>;
  return {[](T* z, Index n) { map(z, n, [](const V& v) { return A::value(v); }, z); }, nullptr,
          [](T* delta, const T* y, Index n) {
            map(delta, n, [](const V& d, const V& v) { return d * A::slope(v); }, delta, y);
          },
          [](const T* z, T* first, T* second, Index n) {
            map(second, n, [](const V& v) { return A::value(v); }, z);
            map(first, n, [](const V& y) { return A::slope(y); }, second);
            map(second, n, [](const V& y) { return A::curvature(y); }, second);
          },
          std::is_same_v<A, Relu>};
}

template <class T, class A>
Activation<T> from_input() {
  using V = Vec<T>;
  return {[](T* z, Index n) {
            V slope, curvature;
            map(z, n, [&](const V& v) { return A::value(v, slope, curvature); }, z);
          },
          [](T* z, T* slopes, Index n) {
            V slope, curvature;
            for (Index i = 0; i < n; i += kLanes<T>) {
              A::value(V::load(z + i), slope, curvature).store(z + i);
              slope.store(slopes + i);
            }
          },
          [](T* delta, const T* slopes, Index n) {
            map(delta, n, [](const V& d, const V& s) { return d * s; }, delta, slopes);
          },
          [](const T* z, T* first, T* second, Index n) {
            V slope, curvature;
            for (Index i = 0; i < n; i += kLanes<T>) {
              A::value(V::load(z + i), slope, curvature);
              slope.store(first + i);
              curvature.store(second + i);
            }
          }};
}

}  // namespace detail

/// Looked up by name. "identity" and "softmax" do nothing here: the output stage knows softmax (loss.hpp).
template <class T>
Activation<T> find_activation(const std::string& name) {
  if (name == "identity" || name == "softmax") {
    return {nullptr, nullptr, nullptr, detail::from_output<T, Identity>().derivatives};
  }
  if (name == "sigmoid") return detail::from_output<T, Sigmoid>();
  if (name == "tanh") return detail::from_output<T, Tanh>();
  if (name == "relu") return detail::from_output<T, Relu>();
  if (name == "leaky_relu") return detail::from_output<T, LeakyRelu>();
  if (name == "elu") return detail::from_output<T, Elu>();
  if (name == "selu") return detail::from_output<T, Selu>();
  if (name == "softplus") return detail::from_output<T, Softplus>();
  if (name == "gelu") return detail::from_input<T, Gelu>();
  if (name == "silu") return detail::from_input<T, Silu>();
  throw std::invalid_argument("unknown activation '" + name + "'");
}

}  // namespace aefast
