/// A matrix of weights inside a flat vector of parameters, and its products with blocks of rows.
#pragma once

#include "panel.hpp"

namespace aefast {

/// One array of parameters inside the flat vector of all. Weights are stored output by output within strips of inputs
/// (panel.hpp); vectors are a single output.
struct Parameter {
  Index offset;     // of the first element in the flat vector
  Index n_outputs;  // 1 for a vector
  Index n_inputs;
  bool penalised;  // takes part in l1 and l2

  template <class T>
  Index size() const {
    return n_outputs * round_up(n_inputs, kLanes<T>);
  }
  template <class T>
  Index at(Index output, Index input) const {
    const Index strip = input / kPanel<T> * kPanel<T>;
    return offset + strip * n_outputs + output * strip_width<T>(strip) + input - strip;
  }
  /// The width of the strip that begins at input `first`.
  template <class T>
  Index strip_width(Index first) const {
    return std::min(kPanel<T>, round_up(n_inputs - first, kLanes<T>));
  }
};

/// out (n_outputs x width) = W in + bias, or, transposed, out (n_inputs x width) = W^T in + bias. The strips cut the
/// depth of the one and the rows of the other. `finish` as in `multiply`.
template <class T, class Finish = Nothing>
void multiply_weights(bool transposed, const Parameter& weights, const T* params, Index width, const T* in,
                      const T* bias, T* out, Finish finish = {}) {
  SegmentList<T> depth(transposed ? 1 : (weights.n_inputs + kPanel<T> - 1) / kPanel<T>);
  for (Index first = 0; first < weights.n_inputs; first += kPanel<T>) {
    const T* strip = params + weights.at<T>(0, first);
    const Index n = std::min(kPanel<T>, weights.n_inputs - first), strip_width = weights.strip_width<T>(first);
    if (transposed) {
      Segment<T> all{strip, in, weights.n_outputs, 1, strip_width};
      multiply<T>(n, width, {&all, 1}, bias ? bias + first : nullptr, out + first * width, finish);
    } else {
      depth.add({strip, in + first * width, n, strip_width, 1});
    }
  }
  if (!transposed) multiply<T>(weights.n_outputs, width, depth.all(), bias, out, finish);
}

}  // namespace aefast
