#include "output_stage.hpp"

#include <algorithm>

namespace aefast {
namespace {

/// Writes each row's sum of f over the features of a block.
template <class T, class F>
void sum_features(Index n_features, Index width, T* row_loss, F&& f) {
  for (Index lane = 0; lane < width; lane += kLanes<T>) {
    Vec<T> total(T(0));
    for (Index at = lane; at < n_features * width; at += width) total = total + f(at);
    total.store(row_loss + lane);
  }
}

/// total + value, where `value` is L's for y and t; its rounding is the same in every kernel.
template <class L, class V>
V added(const V& total, const V& y, const V& t, const V& value) {
  if constexpr (requires { L::add(y, t, total); }) return L::add(y, t, total);
  else return total + value;
}

}  // namespace

template <class T>
OutputStage<T>::OutputStage(Index n_features, const std::string& activation, std::vector<Group> groups,
                            std::vector<Column> columns)
    : n_features_(n_features),
      kind_(activation == "sigmoid"   ? OutputKind::sigmoid
            : activation == "softmax" ? OutputKind::softmax
                                      : OutputKind::other),
      activation_(find_activation<T>(activation)),
      groups_(std::move(groups)),
      columns_(std::move(columns)) {
  for (Column& column : columns_) {
    column.is_category = std::find(groups_.begin(), groups_.end(), Group(column.begin, column.end)) != groups_.end();
  }
  for (std::size_t first = 0, last; first < columns_.size(); first = last) {
    const auto is_plain = [&](const Column& c) { return c.end - c.begin == 1 && c.weight == columns_[first].weight; };
    for (last = first + 1; last < columns_.size(); ++last) {  // single features of the same weight make one run
      const bool together = is_plain(columns_[first]) && is_plain(columns_[last]);
      if (!together || columns_[first].is_category || columns_[last].is_category) break;
    }
    const Column& column = columns_[first];
    const Index n = columns_[last - 1].end - column.begin;
    const bool is_softmax = column.is_category;
    runs_.push_back({column.begin, static_cast<T>(column.weight), is_softmax, !is_plain(column),
                     OutputStage(n, is_softmax ? "softmax" : activation, {}, {})});
  }
  if (groups_.empty()) groups_.emplace_back(0, n_features);
}

template <class T>
void OutputStage<T>::activate(const Block& block, T* z) const {
  for (const ColumnRun& run : runs_) run.stage.activate(block, z + run.begin * block.width);
  if (!runs_.empty()) return;
  if (kind_ == OutputKind::softmax) {
    log_softmax(block, z);
    exponentiate(block, z);
  } else if (activation_.forward) {
    activation_.forward(z, n_features_ * block.width);
  }
}

/// True if the loss and the output kind make a pair.
template <class T>
bool OutputStage<T>::from_logits(Loss loss) const {
  return std::visit(
      [this]<class L>(L) {
        if constexpr (requires { L::kPairsWith; }) return L::kPairsWith == kind_;
        else return false;
      },
      loss);
}

template <class T>
void OutputStage<T>::prepare(Loss loss, const Block& block, T* z) const {
  for (const ColumnRun& run : runs_) run.stage.prepare(run.loss(loss), block, z + run.begin * block.width);
  if (!runs_.empty()) return;
  if (!from_logits(loss)) activate(block, z);
  else if (kind_ == OutputKind::softmax) log_softmax(block, z);
}

template <class T>
void OutputStage<T>::finish(Loss loss, const Block& block, T* z) const {
  for (const ColumnRun& run : runs_) run.stage.finish(run.loss(loss), block, z + run.begin * block.width);
  if (!runs_.empty() || !from_logits(loss)) return;
  if (kind_ == OutputKind::softmax) exponentiate(block, z);
  else activate(block, z);
}

/// Calls f with the loss as a type: for a pair, the loss from logits.
template <class T>
template <class F>
void OutputStage<T>::with_loss(Loss loss, bool has_missing, F&& f) const {
  const auto with = [&]<class L>(L) { return has_missing ? f(OfKnown<L>{}) : f(L{}); };
  std::visit(
      [&]<class L>(L each) {
        if constexpr (requires { L::kPairsWith; }) {
          if (L::kPairsWith == kind_) return with(typename L::FromLogits{});
        }
        with(each);
      },
      loss);
}

template <class T>
void OutputStage<T>::terms(Loss loss, const Block& block, const T* z, const Target<T>& target, T* terms) const {
  for (const ColumnRun& run : runs_) {
    const Index at = run.begin * block.width;
    const Loss own = run.loss(is<LargestError>(loss) ? AbsoluteError{} : loss);
    run.stage.terms(own, block, z + at, target.from(run.begin, block.width), terms + at);
    const auto weigh = [&](const Vec<T>& v) { return v * Vec<T>(run.weight); };
    map(terms + at, run.stage.n_features_ * block.width, weigh, terms + at);
  }
  if (!runs_.empty()) return is<LargestError>(loss) ? keep_largest(block, terms) : void();
  const Index n = n_features_ * block.width;
  const auto fill = [&]<class L>(L) {
    map(terms, n, [](const Vec<T>& y, const Vec<T>& t) { return L::value(y, t); }, z, target.values);
  };
  with_loss(loss, target.has_missing, fill);
  if (is<LargestError>(loss)) keep_largest(block, terms);
}

/// Keeps the terms of each row's largest feature or column, and sets the others to zero.
template <class T>
void OutputStage<T>::keep_largest(const Block& block, T* terms) const {
  const auto column = [&](Index i) {
    return columns_.empty() ? Column{i, i + 1, 1.0} : columns_[static_cast<std::size_t>(i)];
  };
  for (Index lane = 0; lane < block.width; ++lane) {
    Index best = 0;
    T largest = -1;
    for (Index i = 0; i < n_terms(); ++i) {
      T total = 0;
      for (Index f = column(i).begin; f < column(i).end; ++f) total += terms[f * block.width + lane];
      if (total > largest) best = i, largest = total;
    }
    for (Index f = 0; f < n_features_; ++f) {
      if (f < column(best).begin || f >= column(best).end) terms[f * block.width + lane] = T(0);
    }
  }
}

template <class T>
Index OutputStage<T>::n_expected() const {
  Index most = 1;
  for (const Column& column : columns_) most = std::max(most, column.is_category ? 1 : column.end - column.begin);
  return most;
}

template <class T>
void OutputStage<T>::sum_columns(const Block& block, const Target<T>& target, T* terms) const {
  const Index width = block.width;
  for (Index c = 0; c < n_terms(); ++c) {
    const Column& column = columns_[static_cast<std::size_t>(c)];
    for (Index lane = 0; lane < width; lane += kLanes<T>) {
      const Index first = column.begin * width + lane;
      Vec<T> total = Vec<T>::load(terms + first);
      for (Index at = first + width; at < column.end * width; at += width) total = total + Vec<T>::load(terms + at);
      if (target.has_missing) total = select(is_known(Vec<T>::load(target.values + first)), total, Vec<T>(T(-1)));
      total.store(terms + c * width + lane);
    }
  }
}

template <class T>
void OutputStage<T>::name_levels(const Block& block, T* y, Ranking<T>& scratch) const {
  for (const Column& column : columns_) {
    if (!column.is_category) continue;
    T* first = y + column.begin * block.width;
    scratch.begin(1, block.width);
    scratch.add(first, 0, column.end - column.begin);
    std::copy_n(scratch.numbers(0), block.width, first);
  }
}

template <class T>
void OutputStage<T>::row_losses(Loss loss, const Block& block, const T* z, const Target<T>& target, T* row_loss) const {
  if (!runs_.empty()) std::fill_n(row_loss, block.width, T(0));
  for (const ColumnRun& run : runs_) {
    alignas(kAlignment) T losses[kPanel<T>];
    const Target<T> own = target.from(run.begin, block.width);
    run.stage.row_losses(run.loss(loss), block, z + run.begin * block.width, own, losses);
    const Vec<T> weight(run.weight), zero(T(0));
    map(
        row_loss, block.width,
        [&](const Vec<T>& total, const Vec<T>& of_run) {
          const Vec<T> weighted = of_run * weight;
          return is<LargestError>(loss) ? fma(weighted, zero, max(total, weighted)) : total + weighted;
        },
        row_loss, losses);
  }
  if (!runs_.empty()) return;
  std::fill_n(row_loss, block.width, T(0));
  add_prepared(loss, block.width, z, n_features_ * block.width, target, row_loss);
}

template <class T>
void OutputStage<T>::add_losses(Loss loss, Index width, T* z, Index n, const Target<T>& target, T* row_loss) const {
  if (!from_logits(loss) && activation_.forward) activation_.forward(z, n);
  add_prepared(loss, width, z, n, target, row_loss);
}

template <class T>
void OutputStage<T>::rank_losses(Loss loss, Index width, T* z, Index n, const Target<T>& target, Index first,
                                 T* row_loss, Ranking<T>& ranking) const {
  if (!from_logits(loss) && activation_.forward) activation_.forward(z, n);
  ranking.with_size([&]<int kTop>(std::integral_constant<int, kTop>) {
    with_loss(loss, target.has_missing, [&]<class L>(L) {
      for (Index lane = 0; lane < width; lane += kLanes<T>) {
        typename Ranking<T>::template Lanes<kTop> best(ranking, lane, first);
        Vec<T> total = Vec<T>::load(row_loss + lane);
        for (Index at = lane; at < n; at += width) {
          const Vec<T> y = Vec<T>::load(z + at), t = Vec<T>::load(target.values + at), value = L::value(y, t);
          total = added<L>(total, y, t, value);
          if constexpr (kSkipsMissing<L>) best.add(select(is_known(t), value, Vec<T>(T(-1))));
          else best.add(value);
        }
        best.store(ranking, lane);
        total.store(row_loss + lane);
      }
    });
  });
}

template <class T>
void OutputStage<T>::add_prepared(Loss loss, Index width, const T* z, Index n, const Target<T>& target,
                                  T* row_loss) const {
  with_loss(loss, target.has_missing, [&]<class L>(L) {
    for (Index lane = 0; lane < width; lane += kLanes<T>) {
      Vec<T> total = Vec<T>::load(row_loss + lane), poison(T(0));
      for (Index at = lane; at < n; at += width) {
        const Vec<T> y = Vec<T>::load(z + at), t = Vec<T>::load(target.values + at), value = L::value(y, t);
        if constexpr (std::is_base_of_v<LargestError, L>) {
          total = max(total, value);
          poison = fma(value, Vec<T>(T(0)), poison);  // a maximum may ignore NaN, a sum does not
        } else {
          total = added<L>(total, y, t, value);
        }
      }
      (total + poison).store(row_loss + lane);
    }
  });
}

template <class T>
void OutputStage<T>::row_factors(const Block& block, const Target<T>& target, T* factor) const {
  if (!target.has_missing) return std::fill_n(factor, block.width, T(1)), void();
  const Vec<T> one(T(1)), all(static_cast<T>(n_terms()));
  const auto count = [&](Index at) { return mask_and(is_known(Vec<T>::load(target.values + at)), one); };
  if (columns_.empty()) {
    sum_features<T>(n_features_, block.width, factor, count);
  } else {  // a column is known or not, and so is its first feature
    std::fill_n(factor, block.width, T(0));
    for (const Column& column : columns_) {
      for (Index lane = 0; lane < block.width; lane += kLanes<T>) {
        (Vec<T>::load(factor + lane) + count(column.begin * block.width + lane)).store(factor + lane);
      }
    }
  }
  map(factor, block.width, [&](const Vec<T>& n) { return mask_and(less(Vec<T>(T(0)), n), all / max(n, one)); }, factor);
}

template <class T>
void OutputStage<T>::differentiate(Loss loss, const Block& block, T* z, const Target<T>& target, const T* row_scale,
                                   T threshold, T* row_loss, T* delta) const {
  if (!runs_.empty()) std::fill_n(row_loss, block.width, T(0));
  for (const ColumnRun& run : runs_) {
    alignas(kAlignment) T losses[kPanel<T>], scale[kPanel<T>];
    const Index at = run.begin * block.width;
    const Vec<T> weight(run.weight);
    map(scale, block.width, [&](const Vec<T>& s) { return s * weight; }, row_scale);
    run.stage.differentiate(run.loss(loss), block, z + at, target.from(run.begin, block.width), scale, threshold,
                            losses, delta + at);
    map(
        row_loss, block.width, [&](const Vec<T>& total, const Vec<T>& l) { return fma(l, weight, total); }, row_loss,
        losses);
  }
  if (!runs_.empty()) return;
  if (kind_ == OutputKind::softmax) return differentiate_softmax(loss, block, z, target, row_scale, row_loss, delta);
  const Index width = block.width, n = n_features_ * width;
  const bool is_pair = from_logits(loss), keeps_slopes = !is_pair && activation_.keeps_slopes();
  if (keeps_slopes) activation_.forward_keep(z, delta, n);
  else if (!is_pair) activate(block, z);
  with_loss(loss, target.has_missing, [&]<class L>(L) {
    for (Index lane = 0; lane < width; lane += kLanes<T>) {
      Vec<T> total(T(0));
      const Vec<T> scale = Vec<T>::load(row_scale + lane);
      for (Index at = lane; at < n; at += width) {
        const Vec<T> y = Vec<T>::load(z + at), t = Vec<T>::load(target.values + at);
        total = total + L::value(y, t);
        Vec<T> slope = L::slope(y, t);
        if (threshold > 0) slope = mask_and(less(Vec<T>(threshold), abs(is_pair ? slope : y - t)), slope);
        if (keeps_slopes) slope = slope * Vec<T>::load(delta + at);
        (scale * slope).store(delta + at);
      }
      total.store(row_loss + lane);
    }
  });
  if (!is_pair && !keeps_slopes && activation_.backward) activation_.backward(delta, z, n);
}

template <class T>
void OutputStage<T>::differentiate_softmax(Loss loss, const Block& block, T* z, const Target<T>& target,
                                           const T* row_scale, T* row_loss, T* delta) const {
  const Index width = block.width, n = n_features_ * width;
  const bool is_pair = from_logits(loss);
  const auto y = [&](Index at) { return Vec<T>::load(z + at); };
  const auto t = [&](Index at) { return Vec<T>::load(target.values + at); };
  const auto known_probability = [&](Index at) {
    return target.has_missing ? mask_and(is_known(t(at)), probability(t(at))) : probability(t(at));
  };
  const auto add_up = [&]<class L>(L) {
    sum_features<T>(n_features_, width, row_loss, [&](Index at) { return L::value(y(at), t(at)); });
  };
  log_softmax(block, z);
  if (is_pair) with_loss(loss, target.has_missing, add_up);
  map(z, n, [](const Vec<T>& l) { return exp(l); }, z);
  if (!is_pair) {
    with_loss(loss, target.has_missing, [&]<class L>(L of) {
      add_up(of);
      map(delta, n, [](const Vec<T>& a, const Vec<T>& b) { return L::slope(a, b); }, z, target.values);
    });
  }
  for (const auto& [begin, end] : groups_) {
    for (Index lane = 0; lane < width; lane += kLanes<T>) {
      const Vec<T> scale = Vec<T>::load(row_scale + lane);
      const Index first = begin * width + lane, last = end * width;
      Vec<T> total(T(0));
      if (is_pair) {  // p sum(t) - t
        for (Index at = first; at < last; at += width) total = total + known_probability(at);
        for (Index at = first; at < last; at += width) {
          (scale * (y(at) * total - known_probability(at))).store(delta + at);
        }
      } else {  // p (g - sum(p g)); delta holds g
        for (Index at = first; at < last; at += width) total = fma(y(at), Vec<T>::load(delta + at), total);
        for (Index at = first; at < last; at += width) {
          (scale * y(at) * (Vec<T>::load(delta + at) - total)).store(delta + at);
        }
      }
    }
  }
}

template <class T>
void OutputStage<T>::log_softmax(const Block& block, T* z) const {
  for (const auto& [begin, end] : groups_) {
    for (Index lane = 0; lane < block.width; lane += kLanes<T>) {
      Vec<T> top = Vec<T>::load(z + begin * block.width + lane), total(T(0));
      const auto at = [&](Index f) { return z + f * block.width + lane; };
      for (Index f = begin; f < end; ++f) top = max(top, Vec<T>::load(at(f)));
      for (Index f = begin; f < end; ++f) total = total + exp_minus(Vec<T>::load(at(f)) - top);
      const Vec<T> shift = top + log(total);
      for (Index f = begin; f < end; ++f) (Vec<T>::load(at(f)) - shift).store(at(f));
    }
  }
}

template <class T>
void OutputStage<T>::exponentiate(const Block& block, T* z) const {
  for (const auto& [begin, end] : groups_) {
    T* first = z + begin * block.width;
    map(first, (end - begin) * block.width, [](const Vec<T>& v) { return exp(v); }, first);
  }
}

template class OutputStage<float>;
template class OutputStage<double>;

}  // namespace aefast
