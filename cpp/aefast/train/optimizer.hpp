/// SGD, RMSprop, Adam and AdamW over one flat vector of parameters. `begin_step` advances the time of all parameters;
/// `update` may then be called for disjoint ranges in any order, from any thread.
#pragma once

#include <cmath>
#include <stdexcept>
#include <string>

#include "aefast/simd/simd.hpp"

namespace aefast {

struct OptimizerSpec {
  std::string kind = "adam";
  double momentum = 0;
  bool nesterov = false;
  double rho = 0.99;
  double beta_1 = 0.9;
  double beta_2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
};

template <class T>
class Optimizer {
 public:
  Optimizer(const OptimizerSpec& spec, Index n_parameters)
      : spec_(spec), decays_(spec.kind == "adamw"), average_1_(spec.beta_1), average_2_(spec.beta_2) {
    if (spec.kind == "sgd") kind_ = Kind::sgd;
    else if (spec.kind == "rmsprop") kind_ = Kind::rmsprop;
    else if (spec.kind == "adam" || spec.kind == "adamw") kind_ = Kind::adam;
    else throw std::invalid_argument("unknown optimizer '" + spec.kind + "'");
    if (kind_ != Kind::sgd || spec.momentum != 0) first_.reset(n_parameters);
    if (kind_ != Kind::sgd) second_.reset(n_parameters);
  }

  Index step() const { return step_; }
  void set_step(Index step) { step_ = step; }
  /// The running averages of the state; empty if the optimizer has none.
  Buffer<T>& first() { return first_; }
  Buffer<T>& second() { return second_; }

  void begin_step(double learning_rate) {
    ++step_;
    learning_rate_ = static_cast<T>(learning_rate);
    if (kind_ != Kind::adam) return;
    first_correction_ = static_cast<T>(average_1_.correction(step_));
    second_correction_ = static_cast<T>(average_2_.correction(step_));
  }

  /// Moves params[offset, offset + count) against `gradient` (the whole flat vector); `is_weight` decays with adamw.
  void update(T* params, const T* gradient, Index offset, Index count, bool is_weight) {
    T* w = params + offset;
    const T* g = gradient + offset;
    switch (kind_) {
      case Kind::sgd: return sgd(w, g, offset, count);
      case Kind::rmsprop: return rmsprop(w, g, offset, count);
      case Kind::adam: return adam(w, g, offset, count, is_weight);
    }
  }

 private:
  enum class Kind { sgd, rmsprop, adam };
  using V = Vec<T>;
  /// The factor 1 / (1 - beta^t) that corrects a running average for its start at zero, after t steps.
  class Average {
   public:
    explicit Average(double beta) : beta_(beta), settled_(-kLog / std::log(beta)) {}
    double correction(Index t) const {
      const double steps = static_cast<double>(t);
      return steps > settled_ ? 1 : 1 / (1 - std::pow(beta_, steps));
    }

   private:
    static constexpr double kLog = 40;  // -log(beta^t) from which on 1 - beta^t rounds to 1
    double beta_, settled_;
  };
  static constexpr Index kAhead = 1024 / static_cast<Index>(sizeof(T));  // distance of prefetched state

  template <class F>
  static void each(Index count, F&& f) {
    for (Index i = 0; i < count; i += kLanes<T>) f(i);
  }

  /// Sutskever et al. 2013, in the form b = momentum b + g; w -= rate b, or rate (g + momentum b) with Nesterov's.
  void sgd(T* w, const T* g, Index offset, Index count) {
    const V rate(learning_rate_), momentum(static_cast<T>(spec_.momentum));
    if (spec_.momentum == 0) {
      return each(count, [&](Index i) { (V::load(w + i) - rate * V::load(g + i)).store(w + i); });
    }
    T* b = first_.data() + offset;
    each(count, [&](Index i) {
      const V grad = V::load(g + i), velocity = fma(momentum, V::load(b + i), grad);
      velocity.store(b + i);
      const V move = spec_.nesterov ? fma(momentum, velocity, grad) : velocity;
      (V::load(w + i) - rate * move).store(w + i);
    });
  }

  /// Hinton 2012, lecture 6e: v = rho v + (1 - rho) g^2; w -= rate g / (sqrt(v) + epsilon), with optional momentum.
  void rmsprop(T* w, const T* g, Index offset, Index count) {
    T* b = first_.data() + offset;
    T* v = second_.data() + offset;
    const V rate(learning_rate_), epsilon(static_cast<T>(spec_.epsilon)), momentum(static_cast<T>(spec_.momentum));
    const V rho(static_cast<T>(spec_.rho)), rest(static_cast<T>(1 - spec_.rho));
    each(count, [&](Index i) {
      const V grad = V::load(g + i), square = rho * V::load(v + i) + rest * grad * grad;
      const V velocity = fma(momentum, V::load(b + i), grad / (sqrt(square) + epsilon));
      square.store(v + i);
      velocity.store(b + i);
      (V::load(w + i) - rate * velocity).store(w + i);
    });
  }

  /// Kingma and Ba 2015, algorithm 1; decay as in Loshchilov and Hutter 2019, algorithm 2.
  void adam(T* w, const T* g, Index offset, Index count, bool is_weight) {
    T* m = first_.data() + offset;
    T* v = second_.data() + offset;
    const V beta_1(static_cast<T>(spec_.beta_1)), rest_1(static_cast<T>(1 - spec_.beta_1));
    const V beta_2(static_cast<T>(spec_.beta_2)), rest_2(static_cast<T>(1 - spec_.beta_2));
    const V rate(learning_rate_ * first_correction_), correction(second_correction_);
    const V epsilon(static_cast<T>(spec_.epsilon));
    const V keep(is_weight && decays_ ? static_cast<T>(1 - static_cast<double>(learning_rate_) * spec_.weight_decay)
                                      : T(1));
    each(count, [&](Index i) {
      for (const T* next : {w, m, v}) __builtin_prefetch(next + i + kAhead, 1);
      const V grad = V::load(g + i);
      const V mean = beta_1 * V::load(m + i) + rest_1 * grad;
      const V square = beta_2 * V::load(v + i) + rest_2 * grad * grad;
      mean.store(m + i);
      square.store(v + i);
      (keep * V::load(w + i) - rate * mean / (sqrt(square * correction) + epsilon)).store(w + i);
    });
  }

  OptimizerSpec spec_;
  Kind kind_;
  bool decays_;
  Average average_1_, average_2_;
  Buffer<T> first_, second_;
  Index step_ = 0;
  T learning_rate_ = 0, first_correction_ = 1, second_correction_ = 1;
};

}  // namespace aefast
