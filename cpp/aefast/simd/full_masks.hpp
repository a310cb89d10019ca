/// Comparisons on levels whose masks are registers with all bits of a lane set or clear.
#pragma once

#include "vec.hpp"

namespace aefast {

/// The result of a comparison, by lane.
template <class T>
struct Mask {
  typename Vec<T>::Packet lanes;
};

template <class T>
Mask<T> less(const Vec<T>& a, const Vec<T>& b) {
  return {packet::pcmp_lt(a.p, b.p)};
}

template <class T>
Vec<T> select(const Mask<T>& mask, const Vec<T>& yes, const Vec<T>& no) {
  return packet::pselect(mask.lanes, yes.p, no.p);
}

/// `a` in the lanes of the mask, 0 in the others.
template <class T>
Vec<T> mask_and(const Mask<T>& mask, const Vec<T>& a) {
  return packet::pand(mask.lanes, a.p);
}

/// The value in [-limit, limit] that is nearest to `a`; unspecified for NaN.
template <class T>
Vec<T> clip(const Vec<T>& a, const Vec<T>& limit) {
  return max(min(a, limit), -limit);
}

}  // namespace aefast
