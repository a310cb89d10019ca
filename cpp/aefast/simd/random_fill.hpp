/// Arrays of random numbers, uniform and normal, from many counters of a Philox stream at once.
#pragma once

#include "aefast/core/random.hpp"
#include "vector_math.hpp"

namespace aefast {

/// Writes the 4 * n words of the counters (first + i, high): word w of counter i to to[w * n + i]. The loops let the
/// compiler run the rounds over vectors of counters.
inline void fill_words(const Philox& philox, std::uint32_t first, std::uint32_t high, Index n, std::uint32_t* to) {
  constexpr Index kCounters = 64;
  for (Index start = 0; start < n; start += kCounters) {
    const Index count = std::min(kCounters, n - start);
    std::uint32_t c[4][kCounters];
    for (Index i = 0; i < kCounters; ++i) {
      c[0][i] = first + static_cast<std::uint32_t>(start + i);
      c[1][i] = high;
      c[2][i] = philox.high()[0];
      c[3][i] = philox.high()[1];
    }
    std::uint32_t k0 = philox.key()[0], k1 = philox.key()[1];
    for (int round = 0; round < Philox::kRounds; ++round) {
      for (Index i = 0; i < kCounters; ++i) {
        const std::uint64_t p0 = std::uint64_t{Philox::kMultiplier0} * c[0][i];
        const std::uint64_t p1 = std::uint64_t{Philox::kMultiplier1} * c[2][i];
        c[0][i] = static_cast<std::uint32_t>(p1 >> 32) ^ c[1][i] ^ k0;
        c[1][i] = static_cast<std::uint32_t>(p1);
        c[2][i] = static_cast<std::uint32_t>(p0 >> 32) ^ c[3][i] ^ k1;
        c[3][i] = static_cast<std::uint32_t>(p0);
      }
      k0 += Philox::kWeyl0;
      k1 += Philox::kWeyl1;
    }
    for (Index word = 0; word < 4; ++word) std::copy_n(c[word], count, to + word * n + start);
  }
}

/// The standard normal of a uniform in (-1, 1), sqrt(2) erfinv(u), by Giles 2012 in single precision; its error of 1e-7
/// is below the resolution of a uniform of 24 bits.
template <class T>
Vec<T> normal_of_uniform(const Vec<T>& u) {
  using V = Vec<T>;
  constexpr double kCentre[] = {2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
                                -0.00125372503, -0.00417768164, 0.246640727,    1.50140941};
  constexpr double kTail[] = {-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
                              -0.0076224613,   0.00943887047,  1.00167406,    2.83297682};
  const V w = -log((V(T(1)) - u) * (V(T(1)) + u));
  const V centre = detail::polynomial(w - V(T(2.5)), kCentre);
  const V tail = detail::polynomial(sqrt(max(w, V(T(5)))) - V(T(3)), kTail);
  return V(T(1.41421356237309504880)) * u * select(less(w, V(T(5))), centre, tail);
}

/// Writes uniforms in [0, 1) for `n_features` features of `width` rows from `position` on, feature by feature.
template <class T>
void fill_uniform(const Philox& philox, Index position, Index n_features, Index width, T* to) {
  std::uint32_t words[4 * kPanel<T>];
  for (Index feature = 0; feature < n_features; feature += 4) {  // four features share a counter
    fill_words(philox, static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(feature / 4), width, words);
    const Index n = std::min<Index>(4, n_features - feature) * width;
    for (Index i = 0; i < n; ++i) to[feature * width + i] = uniform<T>(words[i]);
  }
}

/// Writes standard normals for `n_features` features of `width` rows from `position` on, feature by feature.
template <class T>
void fill_normal(const Philox& philox, Index position, Index n_features, Index width, T* to) {
  fill_uniform(philox, position, n_features, width, to);
  const Vec<T> two(T(2)), shift(static_cast<T>(0x1p-24) - T(1));  // to the middle of each of 2^24 intervals
  map(to, n_features * width, [&](const Vec<T>& u) { return normal_of_uniform(fma(two, u, shift)); }, to);
}

}  // namespace aefast
