/// The largest terms of each row, with the numbers of their features or columns, found in one pass over the terms.
#pragma once

#include "aefast/simd/simd.hpp"

namespace aefast {

template <class T>
class Ranking {
 public:
  static constexpr Index kMost = 16;

  /// For blocks of up to `width` rows.
  explicit Ranking(Index width) : values_(kMost * width), numbers_(kMost * width) {}

  /// Starts anew: keeps the `top` largest terms of `width` rows.
  void begin(Index top, Index width) {
    constexpr T kNone = -2;
    top_ = std::max<Index>(top, kFew);
    width_ = width;
    std::fill_n(values_.data(), top_ * width, kNone);
    std::fill_n(numbers_.data(), top_ * width, T(0));
  }

  /// Adds `terms` (n x width) with the numbers from `first` on. Of equal terms, those added first rank first.
  void add(const T* terms, Index first, Index n) {
    with_size([&]<int kTop>(std::integral_constant<int, kTop>) {
      for (Index lane = 0; lane < width_; lane += kLanes<T>) {
        Lanes<kTop> best(*this, lane, first);
        for (Index at = lane; at < n * width_; at += width_) best.add(Vec<T>::load(terms + at));
        best.store(*this, lane);
      }
    });
  }

  /// The terms and the numbers of a rank, by row; the largest terms have rank 0.
  const T* values(Index rank) const { return values_.data() + rank * width_; }
  const T* numbers(Index rank) const { return numbers_.data() + rank * width_; }

  /// Calls f with the kTop of `Lanes`.
  template <class F>
  void with_size(F&& f) {
    if (top_ <= kFew) f(std::integral_constant<int, kFew>{});
    else f(std::integral_constant<int, 0>{});
  }

  /// The largest terms of kLanes rows while more are added. If kTop is not 0, it is their number, and they stay in
  /// registers.
  template <int kTop>
  class Lanes {
   public:
    /// The next term added has the number `next`.
    Lanes(const Ranking& all, Index lane, Index next) : top_(kTop > 0 ? kTop : all.top_), next_(static_cast<T>(next)) {
      for (Index rank = 0; rank < top(); ++rank) {
        value_[rank] = Vec<T>::load(all.values(rank) + lane);
        number_[rank] = Vec<T>::load(all.numbers(rank) + lane);
      }
    }

    void add(const Vec<T>& term) {
      Mask<T> moves = less(value_[top() - 1], term);
      for (Index rank = top() - 1; rank > 0; --rank) {  // smaller terms move down, the last is dropped
        const Mask<T> above = less(value_[rank - 1], term);
        value_[rank] = max(value_[rank], min(value_[rank - 1], term));
        number_[rank] = select(above, number_[rank - 1], select(moves, next_, number_[rank]));
        moves = above;
      }
      value_[0] = max(value_[0], term);
      number_[0] = select(moves, next_, number_[0]);
      next_ = next_ + Vec<T>(T(1));
    }

    void store(Ranking& all, Index lane) const {
      for (Index rank = 0; rank < top(); ++rank) {
        value_[rank].store(all.values_.data() + rank * all.width_ + lane);
        number_[rank].store(all.numbers_.data() + rank * all.width_ + lane);
      }
    }

   private:
    Index top() const { return kTop > 0 ? kTop : top_; }

    Index top_;
    Vec<T> next_, value_[kTop > 0 ? kTop : kMost], number_[kTop > 0 ? kTop : kMost];
  };

 private:
  static constexpr int kFew = 3;

  Index top_ = 0, width_ = 0;
  Buffer<T> values_, numbers_;
};

}  // namespace aefast
