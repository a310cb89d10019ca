/// The noises of a denoising autoencoder (Vincent et al. 2010, section 3.3), applied in the scaled space.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "aefast/product/panel.hpp"
#include "aefast/simd/random_fill.hpp"

namespace aefast {

struct NoiseSpec {
  std::string kind;            // "", gaussian, masking, salt_pepper
  double level = 0;            // standard deviation, or the share of elements
  std::vector<double> lowest;  // of each feature, for salt and pepper
  std::vector<double> highest;
};

template <class T>
class Noise {
 public:
  explicit Noise(NoiseSpec spec) : spec_(std::move(spec)) {
    if (spec_.kind.empty()) kind_ = Kind::none;
    else if (spec_.kind == "gaussian") kind_ = Kind::gaussian;
    else if (spec_.kind == "masking") kind_ = Kind::masking;
    else if (spec_.kind == "salt_pepper") kind_ = Kind::salt_pepper;
    else throw std::invalid_argument("unknown noise '" + spec_.kind + "'");
  }

  explicit operator bool() const { return kind_ != Kind::none; }

  /// Writes `from` with noise to `to`; both are n_features x block width. `position` is the place of the block's first
  /// row in the epoch.
  void apply(const Philox& philox, Index position, Index n_features, const Block& block, const T* from, T* to) const {
    const Index n = n_features * block.width;
    const Vec<T> level(static_cast<T>(spec_.level)), zero(T(0));
    if (kind_ == Kind::gaussian) {
      fill_normal(philox, position, n_features, block.width, to);
      return map(to, n, [&](const Vec<T>& e, const Vec<T>& x) { return fma(level, e, x); }, to, from);
    }
    fill_uniform(philox, position, n_features, block.width, to);
    if (kind_ == Kind::masking) {
      return map(to, n, [&](const Vec<T>& u, const Vec<T>& x) { return select(less(u, level), zero, x); }, to, from);
    }
    const Vec<T> half(static_cast<T>(spec_.level / 2));
    for (Index j = 0; j < n_features; ++j) {
      const auto at = static_cast<std::size_t>(j);
      const Vec<T> low(static_cast<T>(spec_.lowest[at])), high(static_cast<T>(spec_.highest[at]));
      map(
          to + j * block.width, block.width,
          [&](const Vec<T>& u, const Vec<T>& x) { return select(less(u, level), select(less(u, half), low, high), x); },
          to + j * block.width, from + j * block.width);
    }
  }

 private:
  enum class Kind { none, gaussian, masking, salt_pepper };

  NoiseSpec spec_;
  Kind kind_;
};

}  // namespace aefast
