/// A matrix of weights inside a flat vector of parameters, and its products with blocks of rows.
#pragma once

#include "panel.hpp"

namespace aefast {

/// One array of parameters inside the flat vector of all. A matrix is stored in panels of columns. Its rows are outputs
/// and its columns inputs or, if flipped, the reverse. A vector is a matrix with one output.
struct Parameter {
  Index offset;     // of the first element in the flat vector
  Index n_outputs;  // 1 for a vector
  Index n_inputs;
  bool penalised;  // true for weights, which l1 and l2 apply to
  bool flipped = false;
  Index panel_columns = 0;  // 0 stands for kPanel

  Index n_rows() const { return flipped ? n_inputs : n_outputs; }
  Index n_columns() const { return flipped ? n_outputs : n_inputs; }

  template <class T>
  Index size() const {
    return with_step<T>([this](auto step) {
      return n_rows() * (n_columns() / step * round_up(step, kLanes<T>) + round_up(n_columns() % step, kLanes<T>));
    });
  }
  /// The offset of the panel whose first column is `first`.
  template <class T>
  Index panel(Index first) const {
    return with_step<T>([&](auto step) { return offset + first / step * round_up(step, kLanes<T>) * n_rows(); });
  }
  template <class T>
  Index panel_width(Index first) const {
    return with_step<T>([&](auto step) { return round_up(std::min<Index>(step, n_columns() - first), kLanes<T>); });
  }
  template <class T>
  Index at(Index output, Index input) const {
    const Index row = flipped ? input : output, column = flipped ? output : input;
    const Index first = with_step<T>([&](auto step) { return column / step * step; });
    return panel<T>(first) + row * panel_width<T>(first) + column - first;
  }

 private:
  /// Calls f with the number of columns of a panel. It is mostly a constant, which avoids a division; that would take
  /// as long as a narrow layer.
  template <class T, class F>
  Index with_step(F&& f) const {
    if (panel_columns > 0) return f(panel_columns);
    return f(std::integral_constant<Index, kPanel<T>>{});
  }
};

/// Bytes that stay in a core's own cache.
inline constexpr Index kNearBytes = 1 << 20;

/// out (n_outputs x width) = W in + bias or, if `transposed`, out (n_inputs x width) = W^T in + bias. Computes only the
/// rows in `wanted`, which begin at whole registers. Panels cut either the depth or the rows of the product. `finish`
/// and `end` are those of `multiply`, `prefetcher` that of `Product`.
template <class T, class Finish = Nothing, class End = Store>
void multiply_weights(bool transposed, const Parameter& weights, const T* params, Index width, const T* in,
                      const T* bias, T* out, const Features& wanted, const Finish& finish = {}, const End& end = {},
                      Prefetcher* prefetcher = nullptr) {
  if (wanted.count() == 0) return;
  const Index n_rows = weights.n_rows(), n_columns = weights.n_columns();
  const bool is_far = n_rows * n_columns * static_cast<Index>(sizeof(T)) >= kNearBytes;
  if (transposed != weights.flipped) {
    for (Index first = wanted.first, last = 0; first < wanted.last; first = last) {
      const Index in_panel = first % kPanel<T>, begin = first - in_panel;
      last = std::min(begin + kPanel<T>, wanted.last);
      Product<T> all{params + weights.panel<T>(begin) + in_panel,
                     in,
                     n_rows,
                     1,
                     weights.panel_width<T>(begin),
                     is_far,
                     prefetcher};
      multiply<T>(last - first, width, {&all, 1}, bias ? bias + first : nullptr, out + first * width, finish, false,
                  end);
    }
    return;
  }
  const bool is_halved = prefetcher && kRegisters == 32;  // more products, each of which fetches fewer lines
  const Index step = is_halved ? kPanel<T> / 2 : kPanel<T>;
  ProductList<T> depth(((is_halved ? 2 : 1) * n_columns + kPanel<T> - 1) / kPanel<T>);
  for (Index first = 0; first < n_columns; first += step) {
    const Index in_panel = first % kPanel<T>, panel_width = weights.panel_width<T>(first - in_panel);
    const T* from = params + weights.panel<T>(first - in_panel) + wanted.first * panel_width + in_panel;
    depth.add({from, in + first * width, std::min(step, n_columns - first), panel_width, 1, is_far, prefetcher});
  }
  multiply<T>(wanted.count(), width, depth.all(), bias ? bias + wanted.first : nullptr, out + wanted.first * width,
              finish, false, end);
}

/// Computes all rows of the product.
template <class T>
void multiply_weights(bool transposed, const Parameter& weights, const T* params, Index width, const T* in,
                      const T* bias, T* out) {
  multiply_weights(transposed, weights, params, width, in, bias, out,
                   {0, transposed ? weights.n_inputs : weights.n_outputs});
}

}  // namespace aefast
