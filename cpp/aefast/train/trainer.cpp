#include "trainer.hpp"

#include <chrono>
#include <cmath>
#include <numeric>

#include "aefast/score/scorer.hpp"

namespace aefast {
namespace {

using Clock = std::chrono::steady_clock;
constexpr Index kListed = 1024;  // rows whose order is drawn together, so that they can be prefetched

/// The mean of one value for each row of an epoch, times the row's sample weight.
template <class T>
double weighted_mean(const EpochSpec& epoch, const std::vector<T>& values) {
  const RowList rows{0, epoch.rows};
  double total = 0;
  for (Index i = 0; i < epoch.n_rows; ++i) {
    const double weight = epoch.sample_weight ? epoch.sample_weight[rows[i]] : 1;
    total += weight * static_cast<double>(values[static_cast<std::size_t>(i)]);
  }
  return total / static_cast<double>(epoch.n_rows);
}

}  // namespace

template <class T>
Trainer<T>::Trainer(const NetworkSpec& network, const ObjectiveSpec& objective, const OptimizerSpec& optimizer,
                    std::uint64_t seed, int max_threads)
    : network_(network),
      params_(network_.n_parameters()),
      gradient_(network_.n_parameters()),
      objective_(network_, objective),
      optimizer_(optimizer, network_.n_parameters()),
      seed_(seed),
      max_threads_(max_threads),
      workspace_(network_),
      pass_(network_, params_, gradient_, objective_, workspace_, objective.noise),
      plans_(pass_) {}

/// Threads and buffers for slices of up to `max_rows` rows; `n_chunks` if threads share them by chunks.
template <class T>
void Trainer<T>::prepare(Index max_rows, const EpochSpec& epoch, Index n_chunks) {
  constexpr double kWorkOfThread = 4e5;         // multiply-adds of a step that outweigh two barriers and others' rows
  constexpr double kWorkOfThreadByChunk = 1e5;  // the same if no thread needs others' rows
  const double work = 3 * static_cast<double>(network_.work()) * static_cast<double>(max_rows);
  const double most = n_chunks > 0 ? std::min(static_cast<double>(n_chunks), 1 + work / kWorkOfThreadByChunk)
                                   : 1 + work / kWorkOfThread;
  workspace_.team.resize(static_cast<int>(std::min(static_cast<double>(max_threads_), most)));
  pass_.prepare(max_rows, epoch, n_chunks);
}

template <class T>
double Trainer<T>::train_epoch(const EpochSpec& epoch, const std::function<void()>& poll) {
  const Index batch_size = std::min(epoch.batch_size, epoch.n_rows);
  const Slicing slicing = plans_.slicing(batch_size, epoch, max_threads_);
  const Index most_rows = std::min(batch_size, 2 * slicing.rows - 1);
  prepare(most_rows, epoch, slicing.is_by_chunk ? (most_rows + slicing.chunk - 1) / slicing.chunk : 0);
  const Permutation shuffled(epoch.n_rows, seed_, epoch.epoch);
  const bool clips = objective_.clip_norm > 0;
  const OnGradient on_gradient = [&](Index offset, Index count, bool is_weight) {
    objective_.add_penalty_gradient(offset, count, is_weight, params_.data(), gradient_.data());
    if (!clips) optimizer_.update(params_.data(), gradient_.data(), offset, count, is_weight);
  };

  const Index listed = round_up(kListed, batch_size);
  order_.resize(static_cast<std::size_t>(listed));
  double total = 0;
  Index n_seen = 0;
  for (Index first = 0; first < epoch.n_rows; first += batch_size) {
    const Index n = std::min(batch_size, epoch.n_rows - first);
    if (epoch.drop_last && n < batch_size) break;
    RowList rows{first, nullptr};
    if (epoch.shuffle || epoch.rows) {
      const Index at = first % listed;
      const Index n_known = std::min(listed - at, epoch.n_rows - first);
      if (at == 0) list_rows(epoch, shuffled, first, n_known);
      rows = {0, order_.data() + at, n_known};
    }
    const auto begin = Clock::now();
    optimizer_.begin_step(epoch.learning_rate);
    {
      [[maybe_unused]] const Level::FlushDenormals flushing;
      total += plans_.run_batch(slicing, epoch, rows, first, n, seed_, on_gradient);
      if (clips) clip_and_update();
    }
    workspace_.team.record(std::chrono::duration<double>(Clock::now() - begin).count(), n);
    n_seen += n;
    if (poll) poll();
  }
  return total / static_cast<double>(n_seen);
}

/// Leaves in `order_` the rows at positions [first, first + n) of the epoch.
template <class T>
void Trainer<T>::list_rows(const EpochSpec& epoch, const Permutation& shuffled, Index first, Index n) {
  if (epoch.shuffle) shuffled.fill(first, n, order_.data());
  else std::iota(order_.begin(), order_.begin() + n, first);
  if (!epoch.rows) return;
  for (Index i = 0; i < n; ++i) order_[static_cast<std::size_t>(i)] = epoch.rows[order_[static_cast<std::size_t>(i)]];
}

template <class T>
double Trainer<T>::evaluate(const EpochSpec& epoch) const {
  std::vector<T> losses(static_cast<std::size_t>(epoch.n_rows));
  const RowList rows{0, epoch.rows};
  const T scale = objective_.is_mean ? T(0) : objective_.loss_scale;
  const Scorer<T> scorer(network_, params_.data(), *epoch.scaling, max_threads_);
  scorer.losses(epoch.input, epoch.target, rows, epoch.n_rows, objective_.loss, scale, static_cast<T>(epoch.beta),
                seed_, losses.data());
  return weighted_mean(epoch, losses);
}

template <class T>
double Trainer<T>::differentiate(const EpochSpec& epoch) {
  const Index n_rows = epoch.n_rows;
  prepare(n_rows, epoch);
  const OnGradient on_gradient = [&](Index offset, Index count, bool is_weight) {
    objective_.add_penalty_gradient(offset, count, is_weight, params_.data(), gradient_.data());
  };
  double objective = plans_.run_batch({n_rows, n_rows}, epoch, {0, epoch.rows}, 0, n_rows, seed_, on_gradient);
  objective /= static_cast<double>(n_rows);
  objective_.add_penalties(network_, params_.data(), objective);
  for (const Block& block : workspace_.blocks) pass_.add_activity(block);
  for (Index i = 0; i < n_rows; ++i) {
    objective += static_cast<double>(workspace_.row_weight[i] * workspace_.row_penalty[i]);
  }
  return objective;
}

template <class T>
void Trainer<T>::penalties(const EpochSpec& epoch, T* to) {
  constexpr Index kRowsOfChunk = 256;
  const Index chunk = std::min(epoch.n_rows, std::max(workspace_.max_rows(), kRowsOfChunk));
  prepare(chunk, epoch);
  for (Index first = 0; first < epoch.n_rows; first += chunk) {
    const Index n = std::min(chunk, epoch.n_rows - first);
    const RowList rows = epoch.rows ? RowList{0, epoch.rows + first} : RowList{first, nullptr};
    const double of_batch = pass_.code_penalties(epoch, rows, n);
    for (Index i = 0; i < n; ++i) to[first + i] = workspace_.row_penalty[i] + static_cast<T>(of_batch);
  }
}

template <class T>
double Trainer<T>::mean_penalty(const EpochSpec& epoch) {
  std::vector<T> each(static_cast<std::size_t>(epoch.n_rows));
  penalties(epoch, each.data());
  return weighted_mean(epoch, each);
}

/// Scales the whole gradient to the largest norm allowed, then moves every parameter.
template <class T>
void Trainer<T>::clip_and_update() {
  double squares = 0;
  for (Index i = 0; i < gradient_.size(); ++i) {
    squares += static_cast<double>(gradient_[i]) * static_cast<double>(gradient_[i]);
  }
  const double norm = std::sqrt(squares);
  if (norm > objective_.clip_norm) {
    const Vec<T> factor(static_cast<T>(objective_.clip_norm / norm));
    T* gradient = gradient_.data();
    map(gradient, gradient_.size(), [&](const Vec<T>& g) { return g * factor; }, gradient);
  }
  for (const Parameter& parameter : network_.parameters()) {
    optimizer_.update(params_.data(), gradient_.data(), parameter.offset, parameter.template size<T>(),
                      parameter.penalised);
  }
}

template class Trainer<float>;
template class Trainer<double>;

}  // namespace aefast
