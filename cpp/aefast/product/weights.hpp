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
    return with_step<T>([this](auto step) {
      return n_rows() * (n_columns() / step * round_up(step, kLanes<T>) + round_up(n_columns() % step, kLanes<T>));
    });
  }
  /// Where the strip begins that has column `first` as its own first.
  template <class T>
  Index strip(Index first) const {
    return with_step<T>([&](auto step) { return offset + first / step * round_up(step, kLanes<T>) * n_rows(); });
  }
  template <class T>
  Index strip_width(Index first) const {
    return with_step<T>([&](auto step) { return round_up(std::min<Index>(step, n_columns() - first), kLanes<T>); });
  }
  template <class T>
  Index at(Index output, Index input) const {
    const Index row = flipped ? input : output, column = flipped ? output : input;
    const Index first = with_step<T>([&](auto step) { return column / step * step; });
    return strip<T>(first) + row * strip_width<T>(first) + column - first;
  }

 private:
  /// Calls f with the columns of a strip, which are mostly known when this is compiled: nothing is then divided, which
  /// takes as long as a narrow layer.
  template <class T, class F>
  Index with_step(F&& f) const {
    if (strip_columns > 0) return f(strip_columns);
    return f(std::integral_constant<Index, kPanel<T>>{});
  }
};

/// What stays in a cache of a core's own.
inline constexpr Index kNearBytes = 1 << 20;

/// out (n_outputs x width) = W in + bias, or, transposed, out (n_inputs x width) = W^T in + bias; of it the rows in
/// `wanted`, which begin at whole registers. The strips cut either the depth or the rows of the product. `finish` and
/// `end` as in `multiply`, `ahead` as in `Segment`.
template <class T, class Finish = Nothing, class End = Store>
void multiply_weights(bool transposed, const Parameter& weights, const T* params, Index width, const T* in,
                      const T* bias, T* out, const Features& wanted, const Finish& finish = {}, const End& end = {},
                      Prefetcher* ahead = nullptr) {
  if (wanted.count() == 0) return;
  const Index n_rows = weights.n_rows(), n_columns = weights.n_columns();
  const bool is_far = n_rows * n_columns * static_cast<Index>(sizeof(T)) >= kNearBytes;
  if (transposed != weights.flipped) {
    for (Index first = wanted.first, last = 0; first < wanted.last; first = last) {
      const Index of_strip = first % kPanel<T>, begin = first - of_strip;
      last = std::min(begin + kPanel<T>, wanted.last);
      Segment<T> all{
          params + weights.strip<T>(begin) + of_strip, in, n_rows, 1, weights.strip_width<T>(begin), is_far, ahead};
      multiply<T>(last - first, width, {&all, 1}, bias ? bias + first : nullptr, out + first * width, finish, false,
                  end);
    }
    return;
  }
  const bool is_halved = ahead && kRegisters == 32;  // more segments, and fewer lines at once
  const Index stretch = is_halved ? kPanel<T> / 2 : kPanel<T>;
  SegmentList<T> depth(((is_halved ? 2 : 1) * n_columns + kPanel<T> - 1) / kPanel<T>);
  for (Index first = 0; first < n_columns; first += stretch) {
    const Index of_strip = first % kPanel<T>, strip_width = weights.strip_width<T>(first - of_strip);
    const T* from = params + weights.strip<T>(first - of_strip) + wanted.first * strip_width + of_strip;
    depth.add({from, in + first * width, std::min(stretch, n_columns - first), strip_width, 1, is_far, ahead});
  }
  multiply<T>(wanted.count(), width, depth.all(), bias ? bias + wanted.first : nullptr, out + wanted.first * width,
              finish, false, end);
}

/// The same, all of it.
template <class T>
void multiply_weights(bool transposed, const Parameter& weights, const T* params, Index width, const T* in,
                      const T* bias, T* out) {
  multiply_weights(transposed, weights, params, width, in, bias, out,
                   {0, transposed ? weights.n_inputs : weights.n_outputs});
}

}  // namespace aefast
