/// A dense layer in scoring whose inputs are numbers and numbers of levels. It adds up the weights of a row's levels
/// instead of multiplying the weights of all levels with zeros and ones.
#pragma once

#include <stdexcept>

#include "dense.hpp"

namespace aefast {

/// Inputs are numbers, then for each column of levels one plus the number of the row's level, in units of
/// kLevelUnit; 0 stands for a missing value. Larger numbers count as the column's last level.
template <class T>
class LevelDense final : public Layer<T> {
 public:
  LevelDense(Index n_numbers, const std::vector<Index>& n_levels, Index n_out, const Activation<T>& activation,
             Index& offset)
      : Layer<T>(n_numbers + static_cast<Index>(n_levels.size()), n_out),
        numbers_(n_numbers, n_out, find_activation<T>("identity"), offset),
        activation_(activation),
        n_levels_(n_levels),
        levels_() {
    Index n = 0;
    for (const Index count : n_levels) {
      begins_.push_back(n);
      n += count;
    }
    levels_ = {offset, n_out, n, true, true};
    offset += levels_.template size<T>();
  }

  static std::unique_ptr<Layer<T>> make(const LayerSpec& spec, const LayerContext<T>& context) {
    const Index units = spec.count("units");
    const std::vector<Index> n_levels = spec.sizes("n_levels");
    const Index n_numbers = context.n_in - static_cast<Index>(n_levels.size());
    if (units < 1 || n_numbers < 1 || n_levels.empty() || *std::ranges::min_element(n_levels) < 1) {
      throw std::invalid_argument("a layer of levels needs units, numbers and levels");
    }
    check_size("a layer of levels", {context.n_in, units});
    return std::make_unique<LevelDense>(n_numbers, n_levels, units, context.activation, context.n_parameters);
  }

  /// The parameters of the layer of numbers, then the weights of all levels.
  std::vector<Parameter> parameters() const override {
    std::vector<Parameter> all = numbers_.parameters();
    all.push_back(levels_);
    return all;
  }

  Index work() const override { return this->n_in() * this->n_out(); }

  void forward(const Block& block, const T* params, const T* in, T* out) const override {
    numbers_.forward(block, params, in, out);
    const Index n_columns = static_cast<Index>(n_levels_.size());
    const T* numbers_of_levels = in + numbers_.n_in() * block.width;
    alignas(kAlignment) static constexpr T kNone[kPanel<T>] = {};
    for (Index lane = 0; lane < block.width; lane += kLanes<T>) {
      for (Index panel = 0; panel < this->n_out(); panel += kPanel<T>) {
        const T* weights = params + levels_.template panel<T>(panel);
        const Index panel_width = levels_.template panel_width<T>(panel);
        for (Index k = 0; k < panel_width; k += kLanes<T>) {
          Vec<T> square[kLanes<T>];
          for (Index i = 0; i < kLanes<T>; ++i) {
            Vec<T> total(T(0));
            for (Index j = 0; j < n_columns; ++j) {
              const Index row = row_of(j, numbers_of_levels[j * block.width + lane + i]);
              total = total + Vec<T>::load(row < 0 ? kNone : weights + row * panel_width + k);
            }
            square[i] = total;
          }
          transpose(square);
          const Index n = std::min(kLanes<T>, this->n_out() - panel - k);
          for (Index i = 0; i < n; ++i) {
            T* to = out + (panel + k + i) * block.width + lane;
            (Vec<T>::load(to) + square[i]).store(to);
          }
        }
      }
    }
    if (activation_.forward) activation_.forward(out, this->n_out() * block.width);
  }

  void forward_train(const Block&, const T*, const T*, T*, const Step<T>&) override { fail(); }
  void backward(const Block&, const T*, const T*, const T*, T*, T*, const Step<T>&) override { fail(); }

 private:
  /// The row of weights of a column's level, or -1 for a missing one.
  Index row_of(Index column, T value) const {
    const auto at = static_cast<std::size_t>(column);
    const auto number = static_cast<Index>(value * static_cast<T>(1 / kLevelUnit));
    return number > 0 ? begins_[at] + std::min(number, n_levels_[at]) - 1 : -1;
  }
  [[noreturn]] static void fail() { throw std::logic_error("a layer of levels only scores"); }

  Dense<T> numbers_;
  Activation<T> activation_;
  std::vector<Index> n_levels_, begins_;
  Parameter levels_;
};

}  // namespace aefast
