#include "trainer.hpp"

#include <chrono>
#include <cmath>
#include <numeric>

#include "aefast/score/scorer.hpp"

namespace aefast {
namespace {

constexpr Index kListed = 1024;  // rows whose order is drawn together, so that they can be fetched ahead of need
using Clock = std::chrono::steady_clock;
constexpr double kWorkOfThread = 4e5;  // multiply-adds of a step that outweigh two barriers and others' rows
constexpr double kWorkApart = 1e5;     // the same, where no thread needs others' rows
constexpr Index kStretch = 2048;       // parameters whose gradients are added up together

}  // namespace

template <class T>
Trainer<T>::Trainer(const NetworkSpec& network, const ObjectiveSpec& objective, const OptimizerSpec& optimizer,
                    std::uint64_t seed, int max_threads)
    : network_(network),
      objective_(objective),
      loss_scale_(
          static_cast<T>(objective.scale > 0 ? objective.scale : 1 / static_cast<double>(network_.output().n_terms()))),
      corruption_(objective.corruption),
      weight_penalty_{static_cast<T>(objective.l1), static_cast<T>(objective.l2)},
      activity_penalty_{static_cast<T>(objective.activity_l1), static_cast<T>(objective.activity_l2)},
      params_(network_.n_parameters()),
      gradient_(network_.n_parameters()),
      optimizer_(optimizer, network_.n_parameters()),
      seed_(seed),
      max_threads_(max_threads),
      unscaled_(Scaling::none(network.n_features)) {
  sizes_.push_back(network_.n_features());
  if (objective.contraction > 0) {
    std::vector<Dense<T>*> encoder;
    for (Index i = 0; i < network_.n_encoder(); ++i) {
      encoder.push_back(dynamic_cast<Dense<T>*>(&layer(i)));
      if (!encoder.back()) throw std::invalid_argument("contraction needs an encoder of plain dense layers");
    }
    contraction_.emplace(encoder, objective.contraction);
  }
  Index first = 0;
  for (Index i = 0; i < n_layers(); ++i) {
    sizes_.push_back(layer(i).n_out());
    if (layer(i).n_batch_tasks() == 0) continue;
    stages_.push_back({first, i});
    first = i + 1;
  }
  stages_.push_back({first, n_layers()});
  can_share_layers_ = !contraction_ && dynamic_cast<Dense<T>*>(&layer(0));
  for (Index i = 1; i < n_layers(); ++i) {
    auto *below = dynamic_cast<Dense<T>*>(&layer(i - 1)), *above = dynamic_cast<Dense<T>*>(&layer(i));
    const bool is_between_them = i == network_.n_encoder() && activity_penalty_;  // what is added to the gradient
    if (below && above && !is_between_them) above->take_slope_of(*below);
    else can_share_layers_ = false;
  }
  for (const Parameter& parameter : network_.parameters()) {
    const Index size = parameter.template size<T>();
    for (Index at = 0; at < size; at += kStretch) {
      stretches_.push_back({parameter.offset + at, std::min(kStretch, size - at), parameter.penalised});
    }
  }
  auto* last = dynamic_cast<Dense<T>*>(&layer(n_layers() - 1));
  const bool ends_linearly = last && !last->activation().forward;
  can_share_layers_ = can_share_layers_ && ends_linearly;
  const bool is_plain = objective.loss == Loss::squared && objective.threshold == 0 && network_.output().is_identity();
  if (is_plain && ends_linearly) squares_ = last;
}

template <class T>
void Trainer<T>::prepare(Index max_rows, const EpochSpec& epoch, Index n_apart) {
  const bool has_noise = corruption_ || epoch.corrupt;
  if (epoch.target && has_noise) throw std::invalid_argument("a target and a noise exclude each other");
  const double work = 3 * static_cast<double>(network_.work()) * static_cast<double>(max_rows);
  const double most =
      n_apart > 0 ? std::min(static_cast<double>(n_apart), 1 + work / kWorkApart) : 1 + work / kWorkOfThread;
  const int n_threads = static_cast<int>(std::min(static_cast<double>(max_threads_), most));
  if (!team_ || team_->size() != n_threads) team_ = std::make_unique<ThreadTeam>(n_threads);

  const Index padded = round_up(max_rows, kLanes<T>);
  const bool is_apart = epoch.target || has_noise || epoch.scaling->masks_missing();
  if (is_apart && target_.size() < network_.n_features() * padded) {
    target_.reset(network_.n_features() * padded);
  }
  if (apart_.size() < n_apart * network_.n_parameters()) apart_.reset(n_apart * network_.n_parameters());
  if (max_rows <= max_rows_) return;
  max_rows_ = max_rows;
  values_.clear();
  deltas_.clear();
  for (const Index size : sizes_) {
    values_.emplace_back(size * padded);
    deltas_.emplace_back(size * padded);
  }
  tasks_.clear();
  for (Index i = 0; i < n_layers(); ++i) {
    const auto boundary = static_cast<std::size_t>(i);
    layer(i).prepare(max_rows, values_[boundary].data(), deltas_[boundary + 1].data());
    for (Index task = 0; task < layer(i).n_gradient_tasks(); ++task) tasks_.push_back({i, task});
  }
  if (contraction_) contraction_->prepare(max_rows, network_.n_parameters(), team_->size());
  n_rows_weighed_ = 0;
  row_weight_.reset(padded);
  row_scale_.reset(padded);
  row_factor_.reset(padded);
  row_loss_.reset(padded);
  panel_loss_.reset((network_.n_features() + kPanel<T> - 1) / kPanel<T> * padded);
  row_penalty_.reset(padded);
}

template <class T>
double Trainer<T>::train_epoch(const EpochSpec& epoch, const std::function<void()>& poll) {
  const Index batch_size = std::min(epoch.batch_size, epoch.n_rows);
  const Slicing by = slicing(batch_size, epoch);
  const Index n_rows = std::min(batch_size, 2 * by.rows - 1);
  prepare(n_rows, epoch, by.is_apart ? (n_rows + by.chunk - 1) / by.chunk : 0);
  const Permutation shuffled(epoch.n_rows, seed_, epoch.epoch);
  const bool clips = objective_.clip_norm > 0;
  const Finished finished = [&](Index offset, Index count, bool is_weight) {
    add_penalties(offset, count, is_weight);
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
    total += run_batch(epoch, rows, first, n, by, finished);
    if (clips) clip_and_update();
    if (team_->size() > 1) pace_.add(std::chrono::duration<double>(Clock::now() - begin).count(), n);
    n_seen += n;
    if (poll) poll();
  }
  return total / static_cast<double>(n_seen);
}

/// Leaves in `order_` the rows at `n` positions of the epoch.
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
  const Scorer<T> scorer(network_, params_.data(), *epoch.scaling, max_threads_);
  scorer.losses(epoch.input, epoch.target, rows, epoch.n_rows, objective_.loss, static_cast<T>(objective_.scale),
                static_cast<T>(epoch.beta), seed_, losses.data());
  double total = 0;
  for (Index i = 0; i < epoch.n_rows; ++i) {
    const double weight = epoch.sample_weight ? epoch.sample_weight[rows[i]] : 1;
    total += weight * static_cast<double>(losses[static_cast<std::size_t>(i)]);
  }
  return total / static_cast<double>(epoch.n_rows);
}

/// Adds to a finished stretch of the gradient what does not come from the loss.
template <class T>
void Trainer<T>::add_penalties(Index offset, Index count, bool is_weight) {
  T* gradient = gradient_.data() + offset;
  if (is_weight && weight_penalty_) {
    weight_penalty_.add_gradient(params_.data() + offset, count, T(1), gradient);
  }
  if (is_weight && contraction_) {
    map(
        gradient, count, [](const Vec<T>& g, const Vec<T>& c) { return g + c; }, gradient,
        contraction_gradient_ + offset);
  }
}

/// Scales the whole gradient to the norm it may have at most, then moves every parameter.
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
