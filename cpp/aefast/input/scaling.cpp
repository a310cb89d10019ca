#include "scaling.hpp"

#include <limits>
#include <utility>

namespace aefast {

Scaling::Scaling(Buffer<double> shift, Buffer<double> scale, double limit, Buffer<double> fill, bool masks_missing,
                 std::vector<Index> n_levels)
    : shift_(std::move(shift)),
      scale_(std::move(scale)),
      limit_(limit),
      fill_(std::move(fill)),
      masks_missing_(masks_missing),
      n_levels_(std::move(n_levels)) {
  const auto set = [this]<class C>(Terms<C>& terms) {
    constexpr double kMost = static_cast<double>(std::numeric_limits<C>::max()) / 4;  // 1 / scale may overflow
    for (Buffer<C>* buffer : {&terms.high, &terms.inverse, &terms.offset}) buffer->reset(n_inputs());
    for (Index j = 0, feature = 0; j < n_inputs(); ++j) {
      const Index n = has_levels() ? n_levels_[static_cast<std::size_t>(j)] : 0;
      if (n > 0) {
        terms.inverse[j] = static_cast<C>(kLevelUnit);
      } else {
        terms.high[j] = static_cast<C>(shift_[feature]);
        terms.inverse[j] = static_cast<C>(std::min(1 / scale_[feature], kMost));
        terms.offset[j] = static_cast<C>((static_cast<double>(terms.high[j]) - shift_[feature]) / scale_[feature]);
      }
      feature += std::max<Index>(n, 1);
    }
  };
  set(single_);
  set(double_);
}

Scaling Scaling::none(Index n_features) {
  Buffer<double> scale(n_features);
  std::fill_n(scale.data(), n_features, 1.0);
  return {Buffer<double>(n_features), std::move(scale), static_cast<double>(std::numeric_limits<float>::max())};
}

Scaling Scaling::with_limit(double limit) const {
  const auto copy = [](const Buffer<double>& from) {
    Buffer<double> to(from.size());
    std::copy_n(from.data(), from.size(), to.data());
    return to;
  };
  return {copy(shift_), copy(scale_), limit, copy(fill_), masks_missing_, n_levels_};
}

}  // namespace aefast
