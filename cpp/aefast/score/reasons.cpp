// Reasons: the largest parts of a row's error, and the outputs that say what was expected.
#include <cmath>

#include "workspace.hpp"

namespace aefast {

/// Computes the rows' sums of terms, their largest terms and the outputs, in work.
template <class T>
void Scorer<T>::ranked_errors(const InputView& input, Loss metric, Index top, const Block& block,
                              Workspace& work) const {
  const OutputStage<T>& stage = network_.output();
  const Index n = network_.n_features() * block.width;
  T* terms = work.target.data();
  work.ranking.begin(top, block.width);
  if (!whitening_ && !distances_ && stage.is_separable() && !is<LargestError>(metric)) {
    std::fill_n(work.row.data(), block.width, T(0));
    const auto take = [&](T* z, Index at, Index count) {
      const Target<T> target{work.wanted.values + at, work.wanted.has_missing};
      stage.rank_losses(metric, block.width, z, count, target, at / block.width, work.row.data(), work.ranking);
    };
    if (low_precision_ && low_precision_->ends_in_low_precision()) {
      work.output = pass(input, {}, block, work);
      take(work.output, 0, n);
    } else {
      const T* in = pass_to_last(input, block, work);
      work.output = work.other(in);
      network_.layers().back()->forward_to(block, params_, in, work.output, take);
    }
    return stage.finish(metric, block, work.output);
  }
  if (distances_) {
    measure(input, true, block, work);
    distances_->contributions(block, work.measured, terms, work.whole.data());
  } else if (whitening_) {
    const T* z = whiten(input, block, work);
    whitening_->squares(block, z, work.row.data());
    whitening_->contributions(block, z, work.input.data(), terms);
  } else {
    work.output = prepared_pass(input, metric, block, work);
    stage.row_losses(metric, block, work.output, work.wanted, work.row.data());
    stage.terms(metric, block, work.output, work.wanted, terms);
    stage.finish(metric, block, work.output);
  }
  if (!stage.columns().empty()) {
    stage.sum_columns(block, work.wanted, terms);
    stage.name_levels(block, work.output, work.ranking);
    work.ranking.begin(top, block.width);
  } else if (work.wanted.has_missing) {
    mark_missing(n, work.wanted.values, terms);
  }
  work.ranking.add(terms, 0, stage.n_terms());
}

template <class T>
void Scorer<T>::reasons(const InputView& input, Index n_rows, Loss metric, const Reasons& to) const {
  each_block(n_rows, [&](const Block& block, Workspace& work) {
    ranked_errors(input, metric, to.top, block, work);
    if (to.top == 3) write_reasons<3>(block, work, to);
    else write_reasons<0>(block, work, to);
    if (!network_.output().columns().empty()) write_expected(block, work, to);
    const Index first = block.first_row * to.top;
    if (to.values) read_elements(input, block, to.top, to.features + first, to.values + first);
    mean_factors(metric, block, work);
    for (Index i = 0; i < block.n_rows; ++i) to.errors[block.first_row + i] = work.row[i] * work.factor[i];
  });
}

namespace {

/// Copies from[j][i] to element j of row i; rows have kTop elements, or `top` if kTop is 0.
template <int kTop, class E, Index kRows>
[[gnu::noinline]] void interleave(const E (*__restrict from)[kRows], Index top, Index n_rows, E* __restrict to) {
  const auto row = [&](Index i) {
    for (Index j = 0; j < (kTop > 0 ? kTop : top); ++j) to[i * (kTop > 0 ? kTop : top) + j] = from[j][i];
  };
  if (n_rows == kRows) {
    for (Index i = 0; i < kRows; ++i) row(i);
  } else {
    for (Index i = 0; i < n_rows; ++i) row(i);
  }
}

}  // namespace

/// Writes reasons; kTop is the number of reasons, or 0 if it is known only at run time.
template <class T>
template <int kTop>
void Scorer<T>::write_reasons(const Block& block, const Workspace& work, const Reasons& to) const {
  constexpr Index kMost = kTop > 0 ? kTop : kMostReasons, kRows = kLanes<T>;
  const Index top = kTop > 0 ? kTop : to.top;
  alignas(kAlignment) T shares[kMost][kRows];
  std::int32_t features[kMost][kRows];
  const Vec<T> zero(T(0));
  for (Index lane = 0; lane < block.width; lane += kRows) {
    const Vec<T> total = Vec<T>::load((distances_ ? work.whole : work.row).data() + lane);
    for (Index rank = 0; rank < top; ++rank) {
      const Vec<T> share = max(Vec<T>::load(work.ranking.values(rank) + lane), zero) / total;
      select(less(zero, total), share, zero).store(shares[rank]);
      const T* numbers = work.ranking.numbers(rank) + lane;
      for (Index i = 0; i < kRows; ++i) features[rank][i] = static_cast<std::int32_t>(numbers[i]);
    }
    const Index first = (block.first_row + lane) * top, n_rows = std::min(kRows, block.n_rows - lane);
    interleave<kTop>(features, top, n_rows, to.features + first);
    interleave<kTop>(shares, top, n_rows, to.shares + first);
    if (!network_.output().columns().empty()) continue;
    for (Index i = 0; i < n_rows; ++i) {
      for (Index rank = 0; rank < top; ++rank) {
        const Index feature = features[rank][i];
        const auto expected = static_cast<double>(work.output[feature * block.width + lane + i]);
        to.expected[first + i * top + rank] =
            static_cast<T>(expected * scaling_.scale(feature) + scaling_.shift(feature));
      }
    }
  }
}

/// Writes the expected values of columns, and marks missing columns.
template <class T>
void Scorer<T>::write_expected(const Block& block, const Workspace& work, const Reasons& to) const {
  const Index n = network_.output().n_expected();
  for (Index i = 0; i < block.n_rows; ++i) {
    for (Index rank = 0; rank < to.top; ++rank) {
      T* values = to.expected + ((block.first_row + i) * to.top + rank) * n;
      const auto number = static_cast<std::size_t>(work.ranking.numbers(rank)[i]);
      const Column& column = network_.output().columns()[number];
      const Index at = column.begin * block.width + i;
      if (work.wanted.has_missing && std::isnan(work.wanted.values[at])) {
        to.features[(block.first_row + i) * to.top + rank] = -1;
      }
      const Index count = column.is_category ? 1 : column.end - column.begin;
      for (Index j = 0; j < n; ++j) {
        const Index feature = column.begin + std::min(j, count - 1);
        const auto expected = static_cast<double>(work.output[feature * block.width + i]);
        const double scale = column.is_category ? 1 : scaling_.scale(feature);
        const double shift = column.is_category ? 0 : scaling_.shift(feature);
        values[j] = j < count ? static_cast<T>(expected * scale + shift) : T(0);
      }
    }
  }
}

template void Scorer<float>::reasons(const InputView&, Index, Loss, const Reasons&) const;
template void Scorer<double>::reasons(const InputView&, Index, Loss, const Reasons&) const;

}  // namespace aefast
