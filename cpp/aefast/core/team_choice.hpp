/// Whether a team of threads is sooner done with training steps than one thread alone, found out on the way. That
/// depends on how far apart the processors are and on what else they do, which changes by the second; results do not
/// depend on it, so that either may take any step.
#pragma once

#include <algorithm>
#include <utility>

#include "types.hpp"

namespace aefast {

class TeamChoice {
 public:
  /// Whether the next step is for one thread alone.
  bool is_alone() const { return is_alone_; }

  /// A step of `n_rows` took so many seconds.
  void add(double seconds, Index n_rows) {
    seconds_ += seconds;
    n_rows_ += n_rows;
    if (seconds_ < kStretch) return;
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
  static constexpr double kStretch = 2e-3;  // seconds that are compared
  static constexpr double kWorthIt = 0.95;
  static constexpr int kOfTrial = 2;              // stretches, of which the last counts: threads wake up, caches fill
  static constexpr int kFewest = 8, kMost = 256;  // stretches between two trials, more after each that fails,
  static constexpr int kBetweenTeams = 32;        // and at most of the team, which is not given up for long

  bool is_alone_ = false, is_trial_ = false;
  int n_left_ = kFewest, n_between_ = kFewest;
  double seconds_ = 0, usual_ = 0;
  Index n_rows_ = 0;
};

}  // namespace aefast
