/// Evidence of tables with levels or times: how rare a value is by itself, and how surprising a level, an hour or a
/// number is, given the other columns. docs/scores.md describes the method; Python fits the tables.
#pragma once

#include <vector>

#include "aefast/input/input_view.hpp"

namespace aefast {

/// A map from a statistic to nats: linear between knots, with a slope beyond the last one.
struct Tail {
  std::vector<double> knots, nats;
  double slope = 0;

  double operator()(double x) const;
};

/// One way to read a column as one of `n_states` states; -1 for a missing value or one that was never seen.
struct EvidenceContext {
  enum class Kind { level, number, hour, day };

  Kind kind;
  Index column;  // of the table
  Index input;   // its first value in a row
  Index n_states;
  std::vector<double> edges;             // of numbers: the least value of each state but the first
  std::vector<double> own;               // of levels and hours: the evidence of each value, or of each hour
  std::vector<double> left_own;          // the same of a training row that is left out
  std::vector<std::int32_t> left_state;  // of levels: the states of the values of such rows
  double centre = 0, inverse = 0;        // of numbers: asinh((x - centre) * inverse) is judged by the tails
  std::vector<Tail> margins;             // of numbers: above and below
};

/// A context whose state is evidence. Its probabilities are proportional to the margin times a row of each parent's
/// table. `left` has factors of these for the own state of a training row that is left out; empty if there are no such
/// rows.
struct EvidenceTarget {
  struct Parent {
    Index context;
    std::vector<float> table, left;  // n_states of the parent x n_states
  };

  Index context;
  std::vector<float> margin, left;
  std::vector<Parent> parents;
  Tail tail;
};

class Evidence {
 public:
  /// The families of evidence, which are joined by a norm of order 4: values by themselves, numbers by themselves,
  /// states given others, and the score of the numbers together.
  enum Family { kLevel, kNumber, kPair, kJoint, kFamilies };

  /// `tails` has one for each family; one without knots if there is no such evidence.
  Evidence(Index n_columns, Index n_inputs, std::vector<EvidenceContext> contexts, std::vector<EvidenceTarget> targets,
           std::vector<Tail> tails, int max_threads);

  Index n_columns() const { return n_columns_; }
  Index n_targets() const { return static_cast<Index>(targets_.size()); }
  Index n_inputs() const { return n_inputs_; }

  /// With `leaves_out`, the rows are training rows, and each is judged as if training had not had it.

  /// Writes the surprise of each target (n_rows x number of targets).
  void surprises(const InputView& rows, bool leaves_out, double* to) const;
  /// Writes the largest evidence of each family but the last, before its tail (n_rows x 3).
  void families(const InputView& rows, bool leaves_out, double* to) const;
  /// Writes the joined evidence of each row. `joint`, if not null, has the score of its numbers; NaN counts as none.
  void errors(const InputView& rows, bool leaves_out, const double* joint, double* to) const;
  /// Writes each column's part of the joined evidence (n_rows x n_columns), and the most probable state of its level or
  /// hour given the other columns, -1 if they do not tell it. `shares` (n_rows x n_columns) divides the score of the
  /// numbers among their columns.
  void contributions(const InputView& rows, const double* joint, const double* shares, double* to,
                     std::int32_t* expected) const;

 private:
  struct Workspace;
  template <class F>
  void each_block(Index n_rows, bool leaves_out, F&& f) const;
  void read(const InputView& rows, Index first, Workspace& work) const;
  void judge_own(Workspace& work) const;
  void judge_pairs(Workspace& work) const;
  double surprise(const EvidenceTarget& target, const Workspace& work, Index row, Index without,
                  std::int32_t* likely) const;
  void contribute(Workspace& work, Index row, double joint, const double* shares, double* to,
                  std::int32_t* expected) const;
  double join(const double* statistics, double* powers) const;

  Index n_columns_, n_inputs_;
  std::vector<EvidenceContext> contexts_;
  std::vector<EvidenceTarget> targets_;
  std::vector<Tail> tails_;
  int max_threads_;
};

}  // namespace aefast
