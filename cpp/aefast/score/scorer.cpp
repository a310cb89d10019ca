// Scoring: blocks of rows go through the network, and then to their errors or to what else is asked of them.
#include "aefast/layer/gaussian.hpp"
#include "workspace.hpp"

namespace aefast {

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
  return std::make_unique<Workspace>(network_, low_precision_, n_joint(), distances_, width, scaling_.masks_missing());
}

template <class T>
void Scorer<T>::set_whitening(const double* centre, const double* matrix, const double* usual,
                              const double* deviation) {
  whitening_.emplace(network_.n_features(), network_.code_size(), centre, matrix, usual, deviation);
  const std::lock_guard lock(mutex_);
  idle_.clear();  // they have no room for residuals and codes
}

template <class T>
void Scorer<T>::set_distances(const DistanceArrays& arrays) {
  constexpr double kNoLimit = 1e30;
  distances_.emplace(scaling_, arrays);
  unclipped_.emplace(scaling_.with_limit(kNoLimit));
  const std::lock_guard lock(mutex_);
  idle_.clear();
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
  read_block(input, unclipped_ ? *unclipped_ : scaling_, rows, block, work.input.data());
  if (distances_) distances_->guard(block, work.wanted.has_missing, work.explains, work.input.data(), work.measured);
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

/// Computes the rows' distances, and their scores in work.row.
template <class T>
void Scorer<T>::measure(const InputView& input, bool explains, const Block& block, Workspace& work) const {
  work.explains = explains;
  const T* joint = residual_and_code(input, block, work);
  distances_->measure(block, joint, work.input.data(), work.measured);
  distances_->finish(block, work.measured, work.row.data());
}

/// Writes to work.factor the factor from each row's sum of terms to its error: 1 / (number of known elements).
template <class T>
void Scorer<T>::mean_factors(Loss metric, const Block& block, Workspace& work) const {
  if (distances_ || is<LargestError>(metric)) return std::fill_n(work.factor.data(), block.width, T(1)), void();
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
    if (distances_) {
      measure(input, false, block, work);
      std::copy_n(work.row.data(), block.n_rows, to + block.first_row);
      return;
    }
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
void Scorer<T>::parts(const InputView& input, Index n_rows, T* to) const {
  each_block(n_rows, [&](const Block& block, Workspace& work) {
    measure(input, false, block, work);
    distances_->parts(block, work.measured, to);
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
    if (distances_) {
      measure(input, true, block, work);
      T* totals = work.whole.data();
      distances_->contributions(block, work.measured, terms, totals);
      for (Index at = 0; at < n; ++at) {
        const Index i = at % block.width;
        terms[at] *= totals[i] > 0 ? work.row[i] / totals[i] : T(0);
      }
    } else if (whitening_) {
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

template <class T>
void Scorer<T>::residuals_and_codes(const InputView& input, Index n_rows, const double* scaled, double* to) const {
  const Index d = network_.n_features(), q = network_.code_size();
  each_block(n_rows, [&](const Block& block, Workspace& work) {
    read(input, {}, block, work);
    const T* code = work.forward(network_, 0, network_.n_encoder(), block, params_, work.input.data());
    for (Index i = 0; i < block.n_rows; ++i) {
      double* row = to + (block.first_row + i) * (d + q) + d;
      for (Index j = 0; j < q; ++j) row[j] = static_cast<double>(code[j * block.width + i]);
    }
    T* output = work.forward(network_, network_.n_encoder(), n_layers(), block, params_, code);
    network_.output().activate(block, output);
    for (Index i = 0; i < block.n_rows; ++i) {
      const double* from = scaled + (block.first_row + i) * d;
      double* row = to + (block.first_row + i) * (d + q);
      for (Index j = 0; j < d; ++j) row[j] = from[j] - static_cast<double>(output[j * block.width + i]);
    }
  });
}

/// Writes a block to the rows of a contiguous array.
template <class T>
void Scorer<T>::write_rows(const Block& block, const T* from, Index n_features, bool in_input_units, T* to) const {
  for (Index i = 0; i < block.n_rows; ++i) {
    T* row = to + (block.first_row + i) * n_features;
    for (Index j = 0; j < n_features; ++j) row[j] = from[j * block.width + i];
    for (Index j = 0; in_input_units && j < n_features; ++j) {
      row[j] = static_cast<T>(static_cast<double>(row[j]) * scaling_.scale(j) + scaling_.shift(j));
    }
  }
}

template class Scorer<float>;
template class Scorer<double>;

}  // namespace aefast
