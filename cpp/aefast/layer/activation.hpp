/// Every activation: its name, value and derivatives in one struct. Most derivatives are computed from the output; gelu
/// and silu compute theirs along with the value, from the input.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include "aefast/simd/vector_math.hpp"

namespace aefast {

// An activation has, for arguments of type `Vec<T>`, kName and either
//   value(z), slope(y), curvature(y)     with the first and second derivative computed from the output y, or
//   value(z, slope, curvature)           which computes all three from the input z.
// clang-format off
struct Identity {
  static constexpr std::string_view kName = "identity";
  template <class V> static V value(const V& z) { return z; }
  template <class V> static V slope(const V&) { return V(1); }
  template <class V> static V curvature(const V&) { return V(0); }
};

/// Does nothing here: softmax needs all features of a group, and belongs to the output stage.
struct Softmax : Identity {
  static constexpr std::string_view kName = "softmax";
};

struct Sigmoid {
  static constexpr std::string_view kName = "sigmoid";
  template <class V> static V value(const V& z) { return sigmoid(z); }
  template <class V> static V slope(const V& y) { return y * (V(1) - y); }
  template <class V> static V curvature(const V& y) { return y * (V(1) - y) * (V(1) - y - y); }
};

struct Tanh {
  static constexpr std::string_view kName = "tanh";
  template <class V> static V value(const V& z) { return tanh(z); }
  template <class V> static V slope(const V& y) { return V(1) - y * y; }
  template <class V> static V curvature(const V& y) { return (y * y - V(1)) * (y + y); }
};

struct Relu {
  static constexpr std::string_view kName = "relu";
  template <class V> static V value(const V& z) { return max(z, V(0)); }
  template <class V> static V slope(const V& y) { return mask_and(less(V(0), y), V(1)); }
  template <class V> static V curvature(const V&) { return V(0); }
};

struct LeakyRelu {
  static constexpr std::string_view kName = "leaky_relu";
  template <class V> static V value(const V& z) { return max(z, z * V(decltype(sum(z))(0.01))); }
  template <class V> static V slope(const V& y) { return select(less(V(0), y), V(1), V(decltype(sum(y))(0.01))); }
  template <class V> static V curvature(const V&) { return V(0); }
};

/// Clevert et al. 2016, eq. 15, with alpha = 1.
struct Elu {
  static constexpr std::string_view kName = "elu";
  template <class V> static V value(const V& z) { return select(less(V(0), z), z, expm1(min(z, V(0)))); }
  template <class V> static V slope(const V& y) { return select(less(V(0), y), V(1), y + V(1)); }
  template <class V> static V curvature(const V& y) { return select(less(V(0), y), V(0), y + V(1)); }
};

/// Klambauer et al. 2017, eq. 2.
struct Selu {
  static constexpr std::string_view kName = "selu";
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
  static constexpr std::string_view kName = "softplus";
  template <class V> static V value(const V& z) { return softplus(z); }
  /// sigmoid(z) = 1 - exp(-softplus(z)).
  template <class V> static V slope(const V& y) { return -expm1(-y); }
  template <class V> static V curvature(const V& y) { const V s = -expm1(-y); return s * (V(1) - s); }
};

/// Hendrycks and Gimpel 2016: z Phi(z), without approximation.
struct Gelu {
  static constexpr std::string_view kName = "gelu";
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
  static constexpr std::string_view kName = "silu";
  template <class V> static V value(const V& z, V& slope, V& curvature) {
    const auto [s, rest] = sigmoids(z);
    slope = s * fma(z, rest, V(1));
    curvature = s * rest * fma(z, rest - s, V(2));
    return z * s;
  }
};
// clang-format on

/// An activation over arrays: `n` is a multiple of the lanes, pointers are aligned.
template <class T>
struct Activation {
  /// Replaces z by y; null for the identity.
  void (*forward)(T* z, Index n);
  /// Replaces z by y and writes the slopes that `backward` needs; null if `backward` needs the output alone.
  void (*forward_keep)(T* z, T* slopes, Index n);
  /// Multiplies delta by the derivative, from the slopes if `forward_keep` is not null, else from the output.
  void (*backward)(T* delta, const T* kept, Index n);
  /// Computes the first and the second derivative from z.
  void (*derivatives)(const T* z, T* first, T* second, Index n);
  /// True for ReLU, which products compute while their sums are in registers.
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

/// Calls f(A{}) for every activation A.
template <class F, class... A>
void each_activation(F&& f, std::type_identity<std::tuple<A...>>) {
  (f(A{}), ...);
}

}  // namespace detail

/// All activations: a new one is a struct above and its name here.
using Activations = std::tuple<Identity, Softmax, Sigmoid, Tanh, Relu, LeakyRelu, Elu, Selu, Softplus, Gelu, Silu>;

/// The names of all activations, in the order of the list.
inline std::vector<std::string> activation_names() {
  std::vector<std::string> names;
  detail::each_activation([&]<class A>(A) { names.emplace_back(A::kName); }, std::type_identity<Activations>{});
  return names;
}

/// The activation with that name. Throws std::invalid_argument if there is none.
template <class T>
Activation<T> find_activation(const std::string& name) {
  bool is_found = false;
  Activation<T> found{};
  detail::each_activation(
      [&]<class A>(A) {
        if (name != A::kName) return;
        is_found = true;
        if constexpr (std::is_base_of_v<Identity, A>) found.derivatives = detail::from_output<T, A>().derivatives;
        else if constexpr (requires(Vec<T> v) { A::value(v); }) found = detail::from_output<T, A>();
        else found = detail::from_input<T, A>();
      },
      std::type_identity<Activations>{});
  if (!is_found) throw std::invalid_argument("unknown activation '" + name + "'");
  return found;
}

}  // namespace aefast
