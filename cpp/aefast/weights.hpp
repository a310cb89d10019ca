/// A matrix of weights inside a flat vector of parameters, and its products with blocks of rows.
#pragma once

#include "panel.hpp"

namespace aefast {

/// One array of parameters inside the flat vector of all. A matrix is stored row by row within strips of columns
/// (panel.hpp), where a row is an output and a column an input or, when flipped, the other way round; a vector is a
/// single output.
struct Parameter {
  Index offset;     // of the first element in the flat vector
  Index n_outputs;  // 1 for a vector
  Index n_inputs;
  bool penalised;  // a weight, that takes part in l1 and l2
  bool flipped = false;
  Index strip_columns = 0;  // 0: as many as a panel has

  Index n_rows() const { return flipped ? n_inputs : n_outputs; }
  Index n_columns() const { return flipped ? n_outputs : n_inputs; }

  template <class T>
  Index size() const {
    const Index step = strip_step<T>();
    return n_rows() * (n_columns() / step * round_up(step, kLanes<T>) + round_up(n_columns() % step, kLanes<T>));
  }
  /// Where the strip begins that has column `first` as its own first.
  template <class T>
  Index strip(Index first) const {
    return offset + first / strip_step<T>() * round_up(strip_step<T>(), kLanes<T>) * n_rows();
  }
  template <class T>
  Index strip_width(Index first) const {
    return round_up(std::min(strip_step<T>(), n_columns() - first), kLanes<T>);
  }
  template <class T>
  Index at(Index output, Index input) const {
    const Index row = flipped ? input : output, column = flipped ? output : input;
    const Index first = column / strip_step<T>() * strip_step<T>();
    return strip<T>(first) + row * strip_width<T>(first) + column - first;
  }

 private:
  template <class T>
  Index strip_step() const {
    return strip_columns > 0 ? strip_columns : kPanel<T>;
  }
};

/// What stays in a cache of a core's own.
inline constexpr Index kNearBytes = 1 << 20;

/// out (n_outputs x width) = W in + bias, or, transposed, out (n_inputs x width) = W^T in + bias. The strips cut either
/// the depth or the rows of the product. `finish` and `end` as in `multiply`.
template <class T, class Finish = Nothing, class End = Store>
void multiply_weights(bool transposed, const Parameter& weights, const T* params, Index width, const T* in,
                      const T* bias, T* out, const Finish& finish = {}, const End& end = {}) {
  const Index n_rows = weights.n_rows(), n_columns = weights.n_columns();
  const T* strip = params + weights.offset;
  const bool is_far = n_rows * n_columns * static_cast<Index>(sizeof(T)) >= kNearBytes;
  if (transposed != weights.flipped) {
    for (Index first = 0; first < n_columns; first += kPanel<T>) {
      const Index strip_width = weights.strip_width<T>(first);
      Segment<T> all{strip, in, n_rows, 1, strip_width, is_far};
      multiply<T>(std::min(kPanel<T>, n_columns - first), width, {&all, 1}, bias ? bias + first : nullptr,
                  out + first * width, finish, false, end);
      strip += n_rows * strip_width;
    }
    return;
  }
  SegmentList<T> depth((n_columns + kPanel<T> - 1) / kPanel<T>);
  for (Index first = 0; first < n_columns; first += kPanel<T>) {
    const Index strip_width = weights.strip_width<T>(first);
    depth.add({strip, in + first * width, std::min(kPanel<T>, n_columns - first), strip_width, 1, is_far});
    strip += n_rows * strip_width;
  }
  multiply<T>(n_rows, width, depth.all(), bias, out, finish, false, end);
}

}  // namespace aefast
