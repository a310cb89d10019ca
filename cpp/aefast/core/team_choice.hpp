/// Decides while training whether a team of threads or one thread alone is faster. That depends on the distance between
/// the processors and on their other work, which changes by the second. Results do not depend on it, so either may take
/// any step.
#pragma once

#include <algorithm>
#include <utility>

#include "types.hpp"

namespace aefast {

class TeamChoice {
 public:
  /// True if one thread alone takes the next step.
  bool is_alone() const { return is_alone_; }

  /// Records that a step of `n_rows` rows took so many seconds.
  void add(double seconds, Index n_rows) {
    seconds_ += seconds;
    n_rows_ += n_rows;
    if (seconds_ < kPeriod) return;
    const double seconds_of_row = std::exchange(seconds_, 0) / static_cast<double>(std::exchange(n_rows_, 0));
    if (--n_left_ > 0) return;
    is_trial_ = !is_trial_;
    if (is_trial_) {
      usual_ = seconds_of_row;
      is_alone_ = !is_alone_;
      n_left_ = kOfTrial;
      return;
    }
    const bool is_better = seconds_of_row < kWorthIt * usual_;
    if (!is_better) is_alone_ = !is_alone_;
    n_between_ = is_better ? kFewest : std::min(2 * n_between_, kMost);
    n_left_ = is_alone_ ? std::min(n_between_, kBetweenTeams) : n_between_;
  }

 private:
  static constexpr double kPeriod = 2e-3;         // seconds whose speeds are compared
  static constexpr double kWorthIt = 0.95;        // of the usual time, for a change
  static constexpr int kOfTrial = 2;              // periods; the last counts, once threads are awake and caches full
  static constexpr int kFewest = 8, kMost = 256;  // periods between trials, doubled after each trial that fails
  static constexpr int kBetweenTeams = 32;        // the same at most while one thread is alone

  bool is_alone_ = false, is_trial_ = false;
  int n_left_ = kFewest, n_between_ = kFewest;
  double seconds_ = 0, usual_ = 0;
  Index n_rows_ = 0;
};

}  // namespace aefast
