#include "evidence.hpp"

#include <cmath>
#include <limits>

#include "aefast/core/parallel.hpp"

namespace aefast {
namespace {

constexpr Index kRows = 256;  // of a block
constexpr double kDay = 86'400, kTurn = 6.283185307179586;

/// The hour of a day or the day of a week, from the sine and cosine of a time's place in it.
Index place_in(double sine, double cosine, double seconds, double unit, double precision) {
  const double turn = std::atan2(sine, cosine) / kTurn;
  // Whole hours come back with rounding errors.
  const double at = std::round((turn < 0 ? turn + 1 : turn) * seconds * precision) / precision;
  return static_cast<Index>(std::floor(at / unit)) % static_cast<Index>(seconds / unit);
}

/// The element of a value of a categorical column.
template <class E>
E element(const std::vector<E>& of_values, double value) {
  return of_values[std::min(static_cast<std::size_t>(value), of_values.size() - 1)];
}

double fourth_power(double x) { return x * x * x * x; }

/// Evidence of a value by itself is a guard: it says nothing below a few nats, which many usual rows reach.
double faded(double nats) {
  constexpr double kFull = 4;
  return nats * fourth_power(std::min(1.0, nats / kFull));
}

}  // namespace

double Tail::operator()(double x) const {
  if (x > knots.back()) return nats.back() + slope * (x - knots.back());
  if (x <= knots.front()) return nats.front() * std::exp(x - knots.front());
  const auto above = static_cast<std::size_t>(std::lower_bound(knots.begin(), knots.end(), x) - knots.begin());
  const double low = knots[above - 1], share = (x - low) / (knots[above] - low);
  return nats[above - 1] + share * (nats[above] - nats[above - 1]);
}

/// The buffers of one thread, for a block of rows.
struct Evidence::Workspace {
  Workspace(Index n_inputs, Index n_contexts, Index n_targets, Index n_columns)
      : values(n_inputs * kRows),
        states(n_contexts * kRows),
        own(n_contexts * kRows),
        pairs(n_targets * kRows),
        largest(3 * kRows),
        part(n_columns) {}

  Index n_rows = 0;
  bool leaves_out = false;
  Buffer<double> values;        // n_inputs x kRows
  Buffer<std::int32_t> states;  // n_contexts x kRows
  Buffer<double> own;           // n_contexts x kRows: evidence of values by themselves
  Buffer<double> pairs;         // n_targets x kRows: evidence given the parents
  Buffer<double> largest;       // 3 x kRows, by family
  Buffer<double> part;          // n_columns
};

Evidence::Evidence(Index n_columns, Index n_inputs, std::vector<EvidenceContext> contexts,
                   std::vector<EvidenceTarget> targets, std::vector<Tail> tails, int max_threads)
    : n_columns_(n_columns),
      n_inputs_(n_inputs),
      contexts_(std::move(contexts)),
      targets_(std::move(targets)),
      tails_(std::move(tails)),
      max_threads_(max_threads) {
  // Whole registers: padded states have probability 0.
  for (EvidenceTarget& target : targets_) {
    const Index n = static_cast<Index>(target.margin.size()), padded = round_up(n, kLanes<float>);
    for (EvidenceTarget::Parent& parent : target.parents) {
      for (std::vector<float>* each : {&parent.table, &parent.left}) {
        const Index n_rows = static_cast<Index>(each->size()) / n;
        std::vector<float> table(static_cast<std::size_t>(n_rows * padded));
        for (Index i = 0; i < n_rows; ++i) std::copy_n(each->data() + i * n, n, table.data() + i * padded);
        *each = std::move(table);
      }
    }
    target.margin.resize(static_cast<std::size_t>(padded));
  }
}

/// Calls f(first row, workspace) for each block of rows, once its rows are read.
template <class F>
void Evidence::each_block(Index n_rows, bool leaves_out, F&& f) const {
  constexpr Index kRowsOfThread = 8192;  // that outweigh starting a thread
  const Index n_blocks = (n_rows + kRows - 1) / kRows;
  const Index n_threads = std::clamp<Index>(n_rows / kRowsOfThread, 1, max_threads_);
  ThreadTeam team(static_cast<int>(n_threads));
  std::vector<Workspace> workspaces;
  for (int i = 0; i < team.size(); ++i) {
    workspaces.emplace_back(n_inputs_, static_cast<Index>(contexts_.size()), static_cast<Index>(targets_.size()),
                            n_columns_);
  }
  team.run(n_blocks, [&](Index block, int thread) {
    Workspace& work = workspaces[static_cast<std::size_t>(thread)];
    work.n_rows = std::min(kRows, n_rows - block * kRows);
    work.leaves_out = leaves_out;
    f(block * kRows, work);
  });
}

/// Reads a block's values, and the state of each context.
void Evidence::read(const InputView& rows, Index first, Workspace& work) const {
  with_type(rows.dtype, [&]<class S>(const S*) {
    for (Index j = 0; j < n_inputs_; ++j) {
      const std::byte* column = rows.column(j) + first * rows.row_stride;
      for (Index i = 0; i < work.n_rows; ++i) {
        work.values[j * kRows + i] = static_cast<double>(*reinterpret_cast<const S*>(column + i * rows.row_stride));
      }
    }
  });
  const double precision = rows.dtype == DType::f32 ? 10 : 1e4;
  for (std::size_t k = 0; k < contexts_.size(); ++k) {
    const EvidenceContext& context = contexts_[k];
    const double* value = work.values.data() + context.input * kRows;
    std::int32_t* state = work.states.data() + static_cast<Index>(k) * kRows;
    const Index n_seen = context.n_states - 1;  // a level of this number was never seen, larger ones are rare
    for (Index i = 0; i < work.n_rows; ++i) {
      Index found = -1;
      if (!std::isnan(value[i])) {
        switch (context.kind) {
          case EvidenceContext::Kind::level:
            found = static_cast<Index>(value[i]) == n_seen ? -1 : std::min(static_cast<Index>(value[i]), n_seen);
            if (work.leaves_out && !context.left_state.empty()) found = element(context.left_state, value[i]);
            break;
          case EvidenceContext::Kind::number:
            found = 0;
            for (const double edge : context.edges) found += value[i] >= edge;
            break;
          case EvidenceContext::Kind::hour: found = place_in(value[i], value[kRows + i], kDay, 3600, precision); break;
          case EvidenceContext::Kind::day:
            found = place_in(value[2 * kRows + i], value[3 * kRows + i], 7 * kDay, kDay, precision);
            break;
        }
      }
      state[i] = static_cast<std::int32_t>(found);
    }
  }
}

/// Computes the evidence of values by themselves, and the largest of levels and of numbers.
void Evidence::judge_own(Workspace& work) const {
  std::fill_n(work.largest.data(), 2 * kRows, 0.0);
  for (std::size_t k = 0; k < contexts_.size(); ++k) {
    const EvidenceContext& context = contexts_[k];
    double* own = work.own.data() + static_cast<Index>(k) * kRows;
    std::fill_n(own, work.n_rows, 0.0);
    const bool is_counted = !context.own.empty();
    if (!is_counted && context.margins.empty()) continue;
    const bool leaves_out = work.leaves_out && !context.left_own.empty();
    const std::vector<double>& of_values = leaves_out ? context.left_own : context.own;
    const std::int32_t* state = work.states.data() + static_cast<Index>(k) * kRows;
    const double* value = work.values.data() + context.input * kRows;
    double* largest = work.largest.data() + (is_counted ? kLevel : kNumber) * kRows;
    for (Index i = 0; i < work.n_rows; ++i) {
      if (std::isnan(value[i])) continue;
      if (context.kind == EvidenceContext::Kind::hour) {
        own[i] = of_values[static_cast<std::size_t>(state[i])];
      } else if (is_counted) {
        own[i] = element(of_values, value[i]);
      } else {
        const double at = std::asinh((value[i] - context.centre) * context.inverse);
        // Either side is one of two.
        own[i] = std::max(0.0, std::max(context.margins[0](at), context.margins[1](-at)) - std::log(2.0));
      }
      largest[i] = std::max(largest[i], own[i]);
    }
  }
}

/// -log of the probability of a state at most as likely as the row's, given all parents but the context `without` of a
/// column; near ties count in part. Numbers have an order: theirs is twice the probability of a state at least as far
/// up or down. `likely`, if not null, gets the most probable state.
double Evidence::surprise(const EvidenceTarget& target, const Workspace& work, Index row, Index without,
                          std::int32_t* likely) const {
  constexpr Index kMost = 3;
  const std::int32_t state = work.states[target.context * kRows + row];
  const Index n = static_cast<Index>(target.margin.size());
  const float* tables[kMost];
  Index n_tables = 0;
  const auto own_state = static_cast<std::size_t>(std::max(state, 0));
  float left = work.leaves_out && !target.left.empty() ? target.left[own_state] : 1;
  for (const EvidenceTarget::Parent& parent : target.parents) {
    const std::int32_t at = work.states[parent.context * kRows + row];
    if (at >= 0 && contexts_[static_cast<std::size_t>(parent.context)].column != without) {
      tables[n_tables++] = parent.table.data() + at * n;
      if (work.leaves_out && !parent.left.empty()) left *= parent.left[static_cast<std::size_t>(at * n) + own_state];
    }
  }
  const EvidenceContext& context = contexts_[static_cast<std::size_t>(target.context)];
  const float* margin = target.margin.data();
  const auto probability = [&](Index l) {
    float p = margin[l];
    for (Index t = 0; t < n_tables; ++t) p *= tables[t][l];
    return p;
  };
  if (likely) {
    // The last state of a level is all rare values, none of which can be expected.
    const Index n_named = context.n_states - (context.kind == EvidenceContext::Kind::level ? 1 : 0);
    float best = -1;
    for (Index l = 0; l < n_named; ++l) {
      const float p = probability(l);
      if (p > best) best = p, *likely = static_cast<std::int32_t>(l);
    }
  }
  if (state < 0 || n_tables == 0) return 0;
  const float own = probability(state);
  if (context.kind == EvidenceContext::Kind::number) {
    const double kept = static_cast<double>(own) * static_cast<double>(left);
    double lower = kept, upper = kept;
    for (Index l = 0; l < state; ++l) lower += static_cast<double>(probability(l));
    for (Index l = state + 1; l < n; ++l) upper += static_cast<double>(probability(l));
    return std::max(0.0, std::log((lower + upper - kept) / (2 * std::min(lower, upper))));
  }
  using V = Vec<float>;
  V total(0.0f), below(0.0f);
  const V most(own * left);
  for (Index l = 0; l < n; l += kLanes<float>) {
    V p = V::load_unaligned(margin + l);
    for (Index t = 0; t < n_tables; ++t) p = p * V::load_unaligned(tables[t] + l);
    total = total + p;
    below = below + min(p, most);
  }
  const double all = static_cast<double>(sum(total)) - static_cast<double>(own) * (1 - static_cast<double>(left));
  return std::max(0.0, std::log(all / static_cast<double>(sum(below))));
}

/// Computes the evidence of each target, and the largest.
void Evidence::judge_pairs(Workspace& work) const {
  double* largest = work.largest.data() + kPair * kRows;
  std::fill_n(largest, kRows, 0.0);
  for (std::size_t t = 0; t < targets_.size(); ++t) {
    const EvidenceTarget& target = targets_[t];
    double* pair = work.pairs.data() + static_cast<Index>(t) * kRows;
    for (Index i = 0; i < work.n_rows; ++i) {
      const double found = surprise(target, work, i, -1, nullptr);
      pair[i] = found > 0 ? std::min(found, target.tail(found)) : 0;
      largest[i] = std::max(largest[i], pair[i]);
    }
  }
}

/// The joined evidence of a row from the statistics of the families; `powers` gets the fourth power of each.
double Evidence::join(const double* statistics, double* powers) const {
  double total = 0;
  for (std::size_t family = 0; family < kFamilies; ++family) {
    const Tail& tail = tails_[family];
    powers[family] = 0;
    if (tail.knots.empty() || std::isnan(statistics[family])) continue;
    if (family != kJoint && statistics[family] <= 0) continue;  // no column has any
    const double nats = tail(statistics[family]);
    powers[family] = fourth_power(family == kLevel || family == kNumber ? faded(nats) : nats);
    if (family == kPair) powers[family] *= 2;  // two columns agree that something is odd
    total += powers[family];
  }
  return std::sqrt(std::sqrt(total));
}

void Evidence::surprises(const InputView& rows, bool leaves_out, double* to) const {
  each_block(rows.rows, leaves_out, [&](Index first, Workspace& work) {
    read(rows, first, work);
    for (Index i = 0; i < work.n_rows; ++i) {
      for (Index t = 0; t < n_targets(); ++t) {
        to[(first + i) * n_targets() + t] = surprise(targets_[static_cast<std::size_t>(t)], work, i, -1, nullptr);
      }
    }
  });
}

void Evidence::families(const InputView& rows, bool leaves_out, double* to) const {
  each_block(rows.rows, leaves_out, [&](Index first, Workspace& work) {
    read(rows, first, work);
    judge_own(work);
    judge_pairs(work);
    for (Index i = 0; i < work.n_rows; ++i) {
      for (Index family = 0; family < 3; ++family) to[(first + i) * 3 + family] = work.largest[family * kRows + i];
    }
  });
}

void Evidence::errors(const InputView& rows, bool leaves_out, const double* joint, double* to) const {
  each_block(rows.rows, leaves_out, [&](Index first, Workspace& work) {
    read(rows, first, work);
    judge_own(work);
    judge_pairs(work);
    const double* largest = work.largest.data();
    for (Index i = 0; i < work.n_rows; ++i) {
      const double statistics[] = {largest[i], largest[kRows + i], largest[2 * kRows + i],
                                   joint ? joint[first + i] : std::numeric_limits<double>::quiet_NaN()};
      double powers[kFamilies];
      to[first + i] = join(statistics, powers);
    }
  });
}

void Evidence::contributions(const InputView& rows, const double* joint, const double* shares, double* to,
                             std::int32_t* expected) const {
  each_block(rows.rows, false, [&](Index first, Workspace& work) {
    read(rows, first, work);
    judge_own(work);
    judge_pairs(work);
    for (Index i = 0; i < work.n_rows; ++i) {
      const Index at = (first + i) * n_columns_;
      contribute(work, i, joint ? joint[first + i] : std::numeric_limits<double>::quiet_NaN(),
                 shares ? shares + at : nullptr, to + at, expected + at);
    }
  });
}

/// Writes a row's contributions. A column's part of a family is the fourth power of its evidence, over that of all; for
/// states given others its evidence is what would vanish without the column.
void Evidence::contribute(Workspace& work, Index row, double joint, const double* shares, double* to,
                          std::int32_t* expected) const {
  const double* largest = work.largest.data();
  const double statistics[] = {largest[row], largest[kRows + row], largest[2 * kRows + row], joint};
  double powers[kFamilies], *part = work.part.data();
  const double error = join(statistics, powers);
  const double total = powers[0] + powers[1] + powers[2] + powers[3];
  std::fill_n(to, n_columns_, 0.0);
  std::fill_n(expected, n_columns_, -1);
  const auto divide = [&](Family family) {
    double sum = 0;
    for (Index j = 0; j < n_columns_; ++j) sum += part[j] = fourth_power(part[j]);
    if (sum <= 0) return;
    for (Index j = 0; j < n_columns_; ++j) to[j] += error * (powers[family] / total) * (part[j] / sum);
  };
  for (const Family family : {kLevel, kNumber}) {
    std::fill_n(part, n_columns_, 0.0);
    for (std::size_t k = 0; k < contexts_.size(); ++k) {
      const EvidenceContext& context = contexts_[k];
      if (context.own.empty() == (family == kLevel)) continue;
      part[context.column] = std::max(part[context.column], work.own[static_cast<Index>(k) * kRows + row]);
    }
    divide(family);
  }
  std::fill_n(part, n_columns_, 0.0);
  for (std::size_t t = 0; t < targets_.size(); ++t) {
    const EvidenceTarget& target = targets_[t];
    const double own = work.pairs[static_cast<Index>(t) * kRows + row];
    const Index column = contexts_[static_cast<std::size_t>(target.context)].column;
    part[column] += own;
    surprise(target, work, row, -1, expected + column);
    if (own <= 0) continue;
    for (const EvidenceTarget::Parent& parent : target.parents) {
      const Index other = contexts_[static_cast<std::size_t>(parent.context)].column;
      const double found = surprise(target, work, row, other, nullptr);
      part[other] += std::max(0.0, own - (found > 0 ? std::min(found, target.tail(found)) : 0));
    }
  }
  divide(kPair);
  for (Index j = 0; shares && j < n_columns_ && powers[kJoint] > 0; ++j) {
    to[j] += error * (powers[kJoint] / total) * shares[j];
  }
}

}  // namespace aefast
