#include "scorer.hpp"

#include <cmath>

#include "aefast/layer/gaussian.hpp"

namespace aefast {

/// The buffers of one thread.
template <class T>
struct Scorer<T>::Workspace {
  /// `n_joint` is the number of elements of a row that whitening reads.
  Workspace(const Network<T>& network, const LowPrecisionNetwork* low_precision_, Index n_joint, Index width,
            bool has_missing)
      : input(network.n_features() * width, Unset{}),
        seen(has_missing ? network.n_features() * width : 0, Unset{}),
        target(network.width() * width, Unset{}),
        joint{{n_joint * width, Unset{}}, {n_joint * width, Unset{}}},
        layer{{network.width() * width, Unset{}}, {network.width() * width, Unset{}}},
        row(width),
        factor(width),
        divergence(width),
        ranking(width),
        n_rows(width),
        wanted{has_missing ? seen.data() : input.data(), has_missing},
        low_precision(low_precision_) {
    if (low_precision) operands = low_precision->operands(width);
  }

  /// The one of `layer` that is not in use.
  T* other(const T* used) { return used == layer[0].data() ? layer[1].data() : layer[0].data(); }

  /// Forward through layers [first, last). Returns the result. `in` is not changed unless it is one of `layer`.
  T* forward(const Network<T>& network, Index first, Index last, const Block& block, const T* params, const T* in) {
    // An empty range lies before the first layer or after the last; both have n_features.
    if (first == last) return std::copy_n(in, network.n_features() * block.width, other(in)), other(in);
    if constexpr (std::is_same_v<T, float>) {
      if (low_precision)
        return low_precision->forward(first, last, block, in, {layer[0].data(), layer[1].data()}, operands);
    }
    T* out = nullptr;
    for (Index i = first; i < last; ++i) {
      out = other(in);
      network.layers()[static_cast<std::size_t>(i)]->forward(block, params, in, out);
      in = out;
    }
    return out;
  }

  Buffer<T> input, seen, target, joint[2], layer[2], row, factor;
  Buffer<T> divergence;  // of a random code, else zeros
  Ranking<T> ranking;
  Index n_rows;         // of the largest block
  Target<T> wanted;     // the rows as they were read, with NaN for missing values
  T* output = nullptr;  // of the last layer
  Prefetcher prefetcher;
  const LowPrecisionNetwork* low_precision;
  LowPrecisionNetwork::Operands operands;
};

template <class T>
Scorer<T>::Scorer(const Network<T>& network, const T* params, const Scaling& scaling, int max_threads,
                  const LowPrecisionNetwork* low_precision)
    : network_(network), params_(params), scaling_(scaling), max_threads_(max_threads), low_precision_(low_precision) {}

template <class T>
Scorer<T>::~Scorer() = default;

/// A workspace for blocks of up to `width` rows, that of an earlier call if there is one.
template <class T>
std::unique_ptr<typename Scorer<T>::Workspace> Scorer<T>::take_workspace(Index width) const {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty() && idle_.back()->n_rows == width) {
      std::unique_ptr<Workspace> work = std::move(idle_.back());
      idle_.pop_back();
      return work;
    }
  }
  const Index n_joint = whitening_ ? this->n_joint() : 0;
  return std::make_unique<Workspace>(network_, low_precision_, n_joint, width, scaling_.masks_missing());
}

template <class T>
void Scorer<T>::set_whitening(const double* centre, const double* matrix, const double* usual,
                              const double* deviation) {
  whitening_.emplace(network_.n_features(), network_.code_size(), centre, matrix, usual, deviation);
  const std::lock_guard lock(mutex_);
  idle_.clear();  // they have no room for residuals and codes
}

/// Keeps a small workspace for later calls, whose time would otherwise be that of allocating another.
template <class T>
void Scorer<T>::keep_workspace(std::unique_ptr<Workspace> work) const {
  constexpr Index kMostElements = 32 * 1024;  // of the widest layer
  constexpr std::size_t kMost = 16;           // calls at a time
  if (network_.width() * work->n_rows > kMostElements) return;
  const std::lock_guard lock(mutex_);
  if (idle_.size() == kMost) idle_.erase(idle_.begin());
  idle_.push_back(std::move(work));
}

/// Calls f(block, workspace) for each block of rows, on no more threads than there is work for.
template <class T>
template <class F>
void Scorer<T>::each_block(Index n_rows, F&& f) const {
  constexpr double kWorkOfThread = 5e6;  // multiply-adds that outweigh starting a thread
  constexpr double kWorkOfTask = 5e6;    // multiply-adds that outweigh dispatching a task
  const Index n_joint = whitening_ ? this->n_joint() : 0;
  const double row_work = static_cast<double>(network_.work() + n_joint * n_joint + 8 * network_.n_features());
  const Index n_wanted =
      std::min(n_rows, low_precision_ ? LowPrecisionNetwork::kMostRows : most_rows<T>(network_.n_features()));
  const Index width = block_width<T>(n_wanted, std::max(network_.width(), n_joint));
  const Index n_blocks = (n_rows + width - 1) / width;
  const double n_threads =
      std::min({static_cast<double>(max_threads_), 1 + static_cast<double>(n_rows) * row_work / kWorkOfThread,
                static_cast<double>(std::max<Index>(1, n_blocks))});
  const auto run = [&](Index first, Index last, Workspace& work) {
    for (Index i = first; i < last; ++i) {
      Block block = block_of<T>(i, n_rows, width);
      block.prefetcher = &work.prefetcher;
      f(block, work);
    }
  };
  if (n_threads < 2) {
    std::unique_ptr<Workspace> work = take_workspace(width);
    run(0, n_blocks, *work);
    return keep_workspace(std::move(work));
  }
  ThreadTeam team(static_cast<int>(n_threads));
  std::vector<std::unique_ptr<Workspace>> workspaces;
  for (int thread = 0; thread < team.size(); ++thread) workspaces.push_back(take_workspace(width));
  const Index blocks_of_task =
      static_cast<Index>(1 + std::min(15.0, kWorkOfTask / (row_work * static_cast<double>(width))));
  team.run((n_blocks + blocks_of_task - 1) / blocks_of_task, [&](Index task, int thread) {
    run(task * blocks_of_task, std::min(n_blocks, (task + 1) * blocks_of_task),
        *workspaces[static_cast<std::size_t>(thread)]);
  });
}

template <class T>
void Scorer<T>::residual(const Block& block, T* output, const Target<T>& target, T* to) const {
  network_.output().activate(block, output);
  const Index n = network_.n_features() * block.width;
  map(to, n, [](const Vec<T>& t, const Vec<T>& y) { return t - y; }, target.values, static_cast<const T*>(output));
  if (target.has_missing) clear_missing(n, target.values, to);
}

/// Reads a block's rows into work.wanted, and into work.input with 0 for missing values.
template <class T>
void Scorer<T>::read(const InputView& input, const RowList& rows, const Block& block, Workspace& work) const {
  read_block(input, scaling_, rows, block, work.input.data());
  if (!work.wanted.has_missing) return;
  const Index n = network_.n_features() * block.width;
  std::copy_n(work.input.data(), n, work.seen.data());
  clear_missing(n, work.seen.data(), work.input.data());
}

/// Reads a block's rows and takes them through the network; returns the last pre-activations.
template <class T>
T* Scorer<T>::pass(const InputView& input, const RowList& rows, const Block& block, Workspace& work) const {
  read(input, rows, block, work);
  return work.forward(network_, 0, n_layers(), block, params_, work.input.data());
}

/// Reads a block's rows and takes them through all layers but the last; returns the inputs of the last.
template <class T>
const T* Scorer<T>::pass_to_last(const InputView& input, const Block& block, Workspace& work) const {
  read(input, {}, block, work);
  return work.forward(network_, 0, n_layers() - 1, block, params_, work.input.data());
}

/// Reads a block's rows and takes them through the network; returns what `metric` is computed from.
template <class T>
T* Scorer<T>::prepared_pass(const InputView& input, Loss metric, const Block& block, Workspace& work) const {
  T* output = pass(input, {}, block, work);
  network_.output().prepare(metric, block, output);
  return output;
}

/// Returns the rows' v = [r; h], residual and code.
template <class T>
const T* Scorer<T>::residual_and_code(const InputView& input, const Block& block, Workspace& work) const {
  T* joint = work.joint[0].data();
  read(input, {}, block, work);
  const T* code = work.forward(network_, 0, network_.n_encoder(), block, params_, work.input.data());
  std::copy_n(code, network_.code_size() * block.width, joint + network_.n_features() * block.width);
  work.output = work.forward(network_, network_.n_encoder(), n_layers(), block, params_, code);
  residual(block, work.output, work.wanted, joint);
  return joint;
}

/// Returns the rows' W (v - m).
template <class T>
const T* Scorer<T>::whiten(const InputView& input, const Block& block, Workspace& work) const {
  const T* joint = residual_and_code(input, block, work);
  whitening_->apply(block, joint, work.joint[1].data());
  return work.joint[1].data();
}

/// Writes to work.factor the factor from each row's sum of terms to its error: 1 / (number of known elements).
template <class T>
void Scorer<T>::mean_factors(Loss metric, const Block& block, Workspace& work) const {
  if (is<LargestError>(metric)) return std::fill_n(work.factor.data(), block.width, T(1)), void();
  const Vec<T> one(T(1)), d(static_cast<T>(whitening_ ? network_.n_features() : network_.output().n_terms()));
  const Vec<T> n_more(whitening_ ? static_cast<T>(network_.code_size()) : T(0));
  network_.output().row_factors(block, work.wanted, work.factor.data());
  map(work.factor.data(), block.width, [&](const Vec<T>& f) { return one / (d / f + n_more); }, work.factor.data());
}

/// Adds up the rows' terms as the last layer computes its outputs. Returns false if metric and network do not allow it.
template <class T>
bool Scorer<T>::fused_errors(const InputView& input, Loss metric, const Block& block, Workspace& work) const {
  const OutputStage<T>& stage = network_.output();
  const bool ends_in_low_precision = low_precision_ && low_precision_->ends_in_low_precision();
  if constexpr (std::is_same_v<T, float>) {
    if (ends_in_low_precision && is<SquaredError>(metric) && stage.is_identity() && !work.wanted.has_missing) {
      read(input, {}, block, work);
      low_precision_->squared_errors(block, work.input.data(), {work.layer[0].data(), work.layer[1].data()},
                                     work.operands, work.row.data());
      return true;
    }
  }
  if (ends_in_low_precision || !stage.is_separable()) return false;
  const Layer<T>& last = *network_.layers().back();
  const T* in = pass_to_last(input, block, work);
  T *out = work.other(in), *totals = work.row.data();
  std::fill_n(totals, block.width, T(0));
  if (is<SquaredError>(metric) && stage.is_identity() && !work.wanted.has_missing &&
      last.forward_squares(block, params_, in, out, work.wanted.values, totals)) {
    return true;
  }
  last.forward_to(block, params_, in, out, [&](T* z, Index at, Index n) {
    stage.add_losses(metric, block.width, z, n, {work.wanted.values + at, work.wanted.has_missing}, totals);
  });
  return true;
}

template <class T>
void Scorer<T>::errors(const InputView& input, Index n_rows, Loss metric, T* to) const {
  each_block(n_rows, [&](const Block& block, Workspace& work) {
    if (whitening_) {
      T *totals = work.row.data(), *out = work.joint[1].data();
      const T* joint = residual_and_code(input, block, work);
      std::fill_n(totals, block.width, T(0));
      whitening_->add_distances(block, joint, out, totals);
    } else if (!fused_errors(input, metric, block, work)) {
      const T* output = prepared_pass(input, metric, block, work);
      network_.output().row_losses(metric, block, output, work.wanted, work.row.data());
    }
    mean_factors(metric, block, work);
    for (Index i = 0; i < block.n_rows; ++i) to[block.first_row + i] = work.row[i] * work.factor[i];
  });
}

template <class T>
void Scorer<T>::losses(const InputView& input, const InputView* target, const RowList& rows, Index n_rows, Loss loss,
                       T scale, T beta, std::uint64_t seed, T* to) const {
  const Index drawn = network_.gaussian_code();
  const Philox philox(seed, Stream::code, 0, 1);
  const bool is_mean = scale == 0;
  if (is_mean) scale = static_cast<T>(1 / static_cast<double>(network_.output().n_terms()));
  each_block(n_rows, [&](const Block& block, Workspace& work) {
    T* output = nullptr;
    if (drawn < 0) {
      output = pass(input, rows, block, work);
    } else {
      const auto& code = dynamic_cast<const GaussianCode<T>&>(*network_.layers()[static_cast<std::size_t>(drawn)]);
      read(input, rows, block, work);
      T* moments = work.forward(network_, 0, drawn, block, params_, work.input.data());
      code.divergence(block, moments, work.divergence.data());
      T* draw = work.other(moments);
      code.sample(philox, 0, block, moments, work.target.data(), draw);
      output = work.forward(network_, drawn + 1, n_layers(), block, params_, draw);
    }
    Target<T> wanted = work.wanted;
    if (target) {
      read_block(*target, scaling_, rows, block, work.target.data());
      wanted.values = work.target.data();
    }
    network_.output().prepare(loss, block, output);
    network_.output().row_losses(loss, block, output, wanted, work.row.data());
    if (is_mean) network_.output().row_factors(block, wanted, work.factor.data());
    else std::fill_n(work.factor.data(), block.width, T(1));
    for (Index i = 0; i < block.n_rows; ++i) {
      to[block.first_row + i] = work.row[i] * (scale * work.factor[i]) + beta * work.divergence[i];
    }
  });
}

template <class T>
void Scorer<T>::feature_errors(const InputView& input, Index n_rows, Loss metric, T* to) const {
  const Index d = network_.n_features();
  each_block(n_rows, [&](const Block& block, Workspace& work) {
    T* terms = work.target.data();
    const Index n = d * block.width;
    if (whitening_) {
      whitening_->contributions(block, whiten(input, block, work), work.input.data(), terms);
    } else {
      const T* output = prepared_pass(input, metric, block, work);
      network_.output().terms(metric, block, output, work.wanted, terms);
    }
    mean_factors(metric, block, work);
    for (Index at = 0; at < n; at += kLanes<T>) {
      (Vec<T>::load(terms + at) * Vec<T>::load(work.factor.data() + at % block.width)).store(terms + at);
    }
    write_rows(block, terms, d, false, to);
  });
}

/// Computes the rows' sums of terms, their largest terms and the outputs, in work.
template <class T>
void Scorer<T>::ranked_errors(const InputView& input, Loss metric, Index top, const Block& block,
                              Workspace& work) const {
  const OutputStage<T>& stage = network_.output();
  const Index n = network_.n_features() * block.width;
  T* terms = work.target.data();
  work.ranking.begin(top, block.width);
  if (!whitening_ && stage.is_separable() && !is<LargestError>(metric)) {
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
  if (whitening_) {
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
    const Vec<T> total = Vec<T>::load(work.row.data() + lane);
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

template <class T>
void Scorer<T>::encode(const InputView& input, Index n_rows, T* to) const {
  each_block(n_rows, [&](const Block& block, Workspace& work) {
    read(input, {}, block, work);
    const T* code = work.forward(network_, 0, network_.n_encoder(), block, params_, work.input.data());
    write_rows(block, code, network_.code_size(), false, to);
  });
}

template <class T>
void Scorer<T>::decode(const InputView& codes, Index n_rows, T* to) const {
  const Scaling unscaled = Scaling::none(network_.code_size());
  each_block(n_rows, [&](const Block& block, Workspace& work) {
    T* code = work.layer[1].data();
    read_block(codes, unscaled, {}, block, code);
    T* output = work.forward(network_, network_.n_encoder(), n_layers(), block, params_, code);
    network_.output().activate(block, output);
    write_rows(block, output, network_.n_features(), true, to);
  });
}

template <class T>
void Scorer<T>::reconstruct(const InputView& input, Index n_rows, bool in_input_units, T* to) const {
  each_block(n_rows, [&](const Block& block, Workspace& work) {
    T* output = pass(input, {}, block, work);
    network_.output().activate(block, output);
    write_rows(block, output, network_.n_features(), in_input_units, to);
  });
}

/// Writes a block to the rows of a contiguous array.
template <class T>
void Scorer<T>::write_rows(const Block& block, const T* from, Index n_features, bool in_input_units, T* to) const {
  for (Index i = 0; i < block.n_rows; ++i) {
    T* row = to + (block.first_row + i) * n_features;
    for (Index j = 0; j < n_features; ++j) row[j] = from[j * block.width + i];
    if (!in_input_units) continue;
    for (Index j = 0; j < n_features; ++j) {
      row[j] = static_cast<T>(static_cast<double>(row[j]) * scaling_.scale(j) + scaling_.shift(j));
    }
  }
}

template class Scorer<float>;
template class Scorer<double>;

}  // namespace aefast
