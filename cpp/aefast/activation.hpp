/// Each activation beside its derivative. Most derivatives follow from the output; the others (gelu, silu) keep the
/// slope while the input is at hand.
#pragma once

#include <stdexcept>
#include <string>

#include "math.hpp"

namespace aefast {

// clang-format off
struct Identity {
  template <class V> static V value(const V& z) { return z; }
  template <class V> static V slope(const V&) { return V(1); }
};

struct Sigmoid {
  template <class V> static V value(const V& z) { return sigmoid(z); }
  template <class V> static V slope(const V& y) { return y * (V(1) - y); }
};

struct Tanh {
  template <class V> static V value(const V& z) { return tanh(z); }
  template <class V> static V slope(const V& y) { return V(1) - y * y; }
};

struct Relu {
  template <class V> static V value(const V& z) { return max(z, V(0)); }
  template <class V> static V slope(const V& y) { return mask_and(less(V(0), y), V(1)); }
};

struct LeakyRelu {
  template <class V> static V value(const V& z) { return max(z, z * V(decltype(sum(z))(0.01))); }
  template <class V> static V slope(const V& y) { return select(less(V(0), y), V(1), V(decltype(sum(y))(0.01))); }
};

/// Clevert et al. 2016, eq. 15, with alpha = 1.
struct Elu {
  template <class V> static V value(const V& z) { return select(less(V(0), z), z, expm1(min(z, V(0)))); }
  template <class V> static V slope(const V& y) { return select(less(V(0), y), V(1), y + V(1)); }
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
};

struct Softplus {
  template <class V> static V value(const V& z) { return softplus(z); }
  /// sigmoid(z) = 1 - exp(-softplus(z)).
  template <class V> static V slope(const V& y) { return -expm1(-y); }
};

/// Hendrycks and Gimpel 2016: z Phi(z), exact.
struct Gelu {
  template <class V> static V value(const V& z, V& slope) {
    using T = decltype(sum(z));
    const V density = gaussian(max(min(z, V(T(64))), V(T(-64)))), tail = normal_tail(abs(z), density);
    const V cdf = select(less(z, V(0)), tail, V(1) - tail);
    slope = fma(z * V(T(0.39894228040143267794)), density, cdf);
    return z * cdf;
  }
};

/// Elfwing et al. 2018: z sigmoid(z).
struct Silu {
  template <class V> static V value(const V& z, V& slope) {
    const V s = sigmoid(z);
    slope = s * fma(z, sigmoid(-z), V(1));
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

  bool keeps_slopes() const { return forward_keep != nullptr; }
};

namespace detail {

template <class T, class A>
Activation<T> from_output() {
  return {[](T* z, Index n) { map(z, n, [](const Vec<T>& v) { return A::value(v); }, z); }, nullptr,
          [](T* delta, const T* y, Index n) {
            map(delta, n, [](const Vec<T>& d, const Vec<T>& v) { return d * A::slope(v); }, delta, y);
          }};
}

template <class T, class A>
Activation<T> from_input() {
  return {[](T* z, Index n) {
            map(
                z, n,
                [](const Vec<T>& v) {
                  Vec<T> unused;
                  return A::value(v, unused);
                },
                z);
          },
          [](T* z, T* slopes, Index n) {
            for (Index i = 0; i < n; i += kLanes<T>) {
              Vec<T> slope;
              A::value(Vec<T>::load(z + i), slope).store(z + i);
              slope.store(slopes + i);
            }
          },
          [](T* delta, const T* slopes, Index n) {
            map(delta, n, [](const Vec<T>& d, const Vec<T>& s) { return d * s; }, delta, slopes);
          }};
}

}  // namespace detail

/// Looked up by name. "identity" and "softmax" do nothing here: the output stage knows softmax (loss.hpp).
template <class T>
Activation<T> find_activation(const std::string& name) {
  if (name == "identity" || name == "softmax") return {nullptr, nullptr, nullptr};
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
