/// Every loss: its names, and its value and gradient for one output, in one struct. `Loss` lists them.
#pragma once

#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "aefast/simd/vector_math.hpp"

namespace aefast {

/// How the network's outputs follow from the last pre-activations: by sigmoid, by softmax, or by another activation.
enum class OutputKind { other, sigmoid, softmax };

// A loss has, for outputs y and targets t of type `Vec<T>`:
//   kNames           its names as a loss or a metric;
//   value(y, t)      a feature's term of the loss;
//   slope(y, t)      d value / d y;
//   add(y, t, total) total + value, if that is a fused multiply-add; its rounding is the same in every kernel;
//   kPairsWith       the output kind, if any, from whose logits the loss is computed more exactly;
//   FromLogits       the struct that does so, for softmax from the logarithms of the outputs.
// clang-format off
struct SquaredError {
  static constexpr std::string_view kNames[] = {"mse", "mahalanobis", "calibrated"};
  template <class V> static V value(const V& y, const V& t) { const V r = y - t; return r * r; }
  template <class V> static V add(const V& y, const V& t, const V& total) { const V r = y - t; return fma(r, r, total); }
  template <class V> static V slope(const V& y, const V& t) { const V r = y - t; return r + r; }
};

struct AbsoluteError {
  static constexpr std::string_view kNames[] = {"mae"};
  template <class V> static V value(const V& y, const V& t) { return abs(y - t); }
  template <class V> static V slope(const V& y, const V& t) { return sign(y - t); }
};

/// The largest absolute error of a row; the other losses are sums over features.
struct LargestError : AbsoluteError {
  static constexpr std::string_view kNames[] = {"max"};
};

/// Huber 1964 with delta = 1.
struct Huber {
  static constexpr std::string_view kNames[] = {"huber"};
  template <class V> static V value(const V& y, const V& t) {
    using T = decltype(sum(y));
    const V a = abs(y - t), inside = min(a, V(1));
    return inside * (a - V(T(0.5)) * inside);
  }
  template <class V> static V add(const V& y, const V& t, const V& total) {
    using T = decltype(sum(y));
    const V a = abs(y - t), inside = min(a, V(1));
    return fma(inside, a - V(T(0.5)) * inside, total);
  }
  template <class V> static V slope(const V& y, const V& t) { return max(min(y - t, V(1)), V(-1)); }
};

/// The target of a crossentropy, clipped to [0, 1]. Losses add the distance |t - clipped t|, so that a row far outside
/// this range does not look normal.
template <class V> V probability(const V& t) { return max(min(t, V(1)), V(0)); }

/// Binary crossentropy in nats from the logit z of a sigmoid output; exact at any z.
struct BinaryCrossentropyOfLogits {
  template <class V> static V value(const V& z, const V& t) {
    const V q = probability(t);
    return fma(-z, q, softplus(z)) + abs(t - q);
  }
  template <class V> static V slope(const V& z, const V& t) { return sigmoid(z) - probability(t); }
};

/// Binary crossentropy in nats of probabilities, which are clipped to keep off 0 and 1.
struct BinaryCrossentropy {
  static constexpr std::string_view kNames[] = {"binary_crossentropy"};
  static constexpr OutputKind kPairsWith = OutputKind::sigmoid;
  using FromLogits = BinaryCrossentropyOfLogits;
  template <class V> static V inside(const V& y) {
    using T = decltype(sum(y));
    constexpr T kEdge = std::numeric_limits<T>::epsilon();
    return max(min(y, V(1 - kEdge)), V(kEdge));
  }
  template <class V> static V value(const V& y, const V& t) {
    const V p = inside(y), q = probability(t);
    return abs(t - q) - (q * log(p) + (V(1) - q) * log(V(1) - p));
  }
  template <class V> static V slope(const V& y, const V& t) {
    const V p = inside(y);
    return (p - probability(t)) / (p * (V(1) - p));
  }
};

/// Categorical crossentropy in nats from the logarithm l of a softmax output; a feature's term is -t l. The slope is by
/// l; the output stage computes the gradient by the logits.
struct CategoricalCrossentropyOfLogs {
  template <class V> static V value(const V& l, const V& t) {
    const V q = probability(t);
    return abs(t - q) - q * l;
  }
  template <class V> static V slope(const V&, const V& t) { return -probability(t); }
};

/// Categorical crossentropy in nats of probabilities; a feature's term is -t log y.
struct CategoricalCrossentropy {
  static constexpr std::string_view kNames[] = {"categorical_crossentropy"};
  static constexpr OutputKind kPairsWith = OutputKind::softmax;
  using FromLogits = CategoricalCrossentropyOfLogs;
  template <class V> static V inside(const V& y) { return max(y, V(std::numeric_limits<decltype(sum(y))>::min())); }
  template <class V> static V value(const V& y, const V& t) {
    return CategoricalCrossentropyOfLogs::value(log(inside(y)), t);
  }
  template <class V> static V slope(const V& y, const V& t) { return -probability(t) / inside(y); }
};
// clang-format on

/// One of all losses: a new one is a struct above and its name here.
using Loss =
    std::variant<SquaredError, AbsoluteError, Huber, BinaryCrossentropy, CategoricalCrossentropy, LargestError>;

template <class L>
bool is(const Loss& loss) {
  return std::holds_alternative<L>(loss);
}

namespace detail {

/// Calls f(L{}) for every loss L.
template <class F, class... L>
void each_loss(F&& f, std::type_identity<std::variant<L...>>) {
  (f(L{}), ...);
}

}  // namespace detail

/// The names of all losses, in the order of the list.
inline std::vector<std::string> loss_names() {
  std::vector<std::string> names;
  detail::each_loss([&]<class L>(L) { names.insert(names.end(), std::begin(L::kNames), std::end(L::kNames)); },
                    std::type_identity<Loss>{});
  return names;
}

/// The loss with that name. Throws std::invalid_argument if there is none.
inline Loss find_loss(const std::string& name) {
  const Loss* found = nullptr;
  Loss loss;
  detail::each_loss(
      [&]<class L>(L each) {
        for (const std::string_view own : L::kNames) {
          if (name == own) found = &(loss = each);
        }
      },
      std::type_identity<Loss>{});
  if (!found) throw std::invalid_argument("unknown loss or metric '" + name + "'");
  return loss;
}

// clang-format off
/// The loss L with no value and no gradient for targets that are missing.
template <class L>
struct OfKnown : L {
  template <class V> static V value(const V& y, const V& t) { return mask_and(is_known(t), L::value(y, t)); }
  template <class V> static V add(const V& y, const V& t, const V& total) = delete;
  template <class V> static V slope(const V& y, const V& t) { return mask_and(is_known(t), L::slope(y, t)); }
};
// clang-format on

template <class L>
inline constexpr bool kSkipsMissing = false;
template <class L>
inline constexpr bool kSkipsMissing<OfKnown<L>> = true;

}  // namespace aefast
