#include "trainer.hpp"

#include <cmath>

#include "random.hpp"
#include "scorer.hpp"

namespace aefast {
namespace {

constexpr double kWorkOfThread = 4e5;  // multiply-adds of a step that outweigh two barriers

}  // namespace

template <class T>
Trainer<T>::Trainer(const NetworkSpec& network, const ObjectiveSpec& objective, const OptimizerSpec& optimizer,
                    std::uint64_t seed, int max_threads)
    : network_(network),
      objective_(objective),
      weight_penalty_{static_cast<T>(objective.l1), static_cast<T>(objective.l2)},
      activity_penalty_{static_cast<T>(objective.activity_l1), static_cast<T>(objective.activity_l2)},
      params_(network_.n_parameters()),
      gradient_(network_.n_parameters()),
      optimizer_(optimizer, network_.n_parameters()),
      seed_(seed),
      max_threads_(max_threads) {
  sizes_.push_back(network_.n_features());
  for (const auto& each : network_.layers()) sizes_.push_back(each->n_out());
}

template <class T>
void Trainer<T>::prepare(Index max_rows, bool has_target) {
  const double work = 3 * static_cast<double>(network_.work()) * static_cast<double>(max_rows);
  const int n_threads = static_cast<int>(std::min(static_cast<double>(max_threads_), 1 + work / kWorkOfThread));
  if (!team_ || team_->size() != n_threads) team_ = std::make_unique<ThreadTeam>(n_threads);

  const Index padded = round_up(max_rows, kLanes<T>);
  if (has_target && target_.size() < network_.n_features() * padded) {
    target_strips_ = Strips<T>(network_.n_features(), max_rows);
    target_.reset(network_.n_features() * padded);
  }
  if (max_rows <= max_rows_) return;
  max_rows_ = max_rows;
  values_.clear();
  deltas_.clear();
  for (const Index size : sizes_) {
    values_.emplace_back(size * padded);
    deltas_.emplace_back(size * padded);
  }
  input_strips_ = Strips<T>(network_.n_features(), max_rows);
  if (Dense<T>* first = network_.first_dense()) first->take_input_strips(&input_strips_);
  tasks_.clear();
  for (Index i = 0; i < n_layers(); ++i) {
    const auto boundary = static_cast<std::size_t>(i);
    layer(i).prepare(max_rows, values_[boundary].data(), deltas_[boundary + 1].data());
    for (Index task = 0; task < layer(i).n_gradient_tasks(); ++task) tasks_.push_back({i, task});
  }
  row_scale_.reset(padded);
  row_loss_.reset(padded);
  order_.resize(static_cast<std::size_t>(max_rows));
}

template <class T>
double Trainer<T>::train_epoch(const EpochSpec& epoch, const std::function<void()>& poll) {
  const Index batch_size = std::min(epoch.batch_size, epoch.n_rows);
  prepare(batch_size, epoch.target != nullptr);
  const Permutation shuffled(epoch.n_rows, seed_, epoch.epoch);
  const bool clips = objective_.clip_norm > 0;
  const Finished finished = [&](Index offset, Index count, bool is_weight) {
    if (is_weight && weight_penalty_) {
      weight_penalty_.add_gradient(params_.data() + offset, count, T(1), gradient_.data() + offset);
    }
    if (!clips) optimizer_.update(params_.data(), gradient_.data(), offset, count, is_weight);
  };

  double total = 0;
  Index n_seen = 0;
  for (Index first = 0; first < epoch.n_rows; first += batch_size) {
    const Index n = std::min(batch_size, epoch.n_rows - first);
    if (epoch.drop_last && n < batch_size) break;
    RowList rows{first, nullptr};
    if (epoch.shuffle || epoch.rows) {
      for (Index i = 0; i < n; ++i) {
        const Index position = epoch.shuffle ? shuffled(first + i) : first + i;
        order_[static_cast<std::size_t>(i)] = epoch.rows ? epoch.rows[position] : position;
      }
      rows = {0, order_.data()};
    }
    optimizer_.begin_step(epoch.learning_rate);
    total += run_batch(epoch, rows, first, n, finished);
    if (clips) clip_and_update();
    n_seen += n;
    if (poll) poll();
  }
  return total / static_cast<double>(n_seen);
}

template <class T>
double Trainer<T>::evaluate(const EpochSpec& epoch) const {
  std::vector<T> errors(static_cast<std::size_t>(epoch.n_rows));
  const RowList rows{0, epoch.rows};
  const Scorer<T> scorer(network_, params_.data(), *epoch.scaling, max_threads_);
  scorer.errors(epoch.input, epoch.target, rows, epoch.n_rows, objective_.loss, errors.data());
  double total = 0;
  for (Index i = 0; i < epoch.n_rows; ++i) {
    const double weight = epoch.sample_weight ? epoch.sample_weight[rows[i]] : 1;
    total += weight * static_cast<double>(errors[static_cast<std::size_t>(i)]);
  }
  return total / static_cast<double>(epoch.n_rows);
}

template <class T>
double Trainer<T>::differentiate(const EpochSpec& epoch) {
  prepare(epoch.n_rows, epoch.target != nullptr);
  double objective = run_batch(epoch, {0, epoch.rows}, 0, epoch.n_rows, [&](Index offset, Index count, bool is_weight) {
    if (is_weight) weight_penalty_.add_gradient(params_.data() + offset, count, T(1), gradient_.data() + offset);
  });
  objective /= static_cast<double>(epoch.n_rows);
  for (const Parameter& parameter : network_.parameters()) {
    if (parameter.penalised) {
      objective += weight_penalty_.value(params_.data() + parameter.offset, parameter.template size<T>());
    }
  }
  if (activity_penalty_) {
    const Index q = network_.code_size();
    for (const Block& block : blocks_) {
      const T* code = values(network_.n_encoder(), block);
      for (Index row = 0; row < block.n_rows; ++row) {
        const double weight = static_cast<double>(row_scale_[block.first_row + row]) * static_cast<double>(network_.n_features());
        for (Index j = 0; j < q; ++j) objective += weight * activity_penalty_.value(code + j * block.width + row, 1);
      }
    }
  }
  return objective;
}

template <class T>
double Trainer<T>::run_batch(const EpochSpec& epoch, const RowList& rows, Index first, Index n_rows,
                             const Finished& finished) {
  const Index share = round_up((n_rows + team_->size() - 1) / team_->size(), kLanes<T>);
  const Index width = std::min(kPanel<T>, share);
  blocks_.clear();
  for (Index i = 0; i * width < n_rows; ++i) blocks_.push_back(block_of<T>(i, n_rows, width));

  const DrawPlace place{seed_, epoch.epoch, first};
  team_->run(static_cast<Index>(blocks_.size()), [&](Index i, int) {
    pass_block(epoch, rows, blocks_[static_cast<std::size_t>(i)], n_rows, place);
  });
  team_->run(static_cast<Index>(tasks_.size()), [&](Index i, int) {
    const Task& task = tasks_[static_cast<std::size_t>(i)];
    layer(task.layer).gradient(task.index, blocks_, gradient_.data(), finished);
  });

  double total = 0;
  for (Index i = 0; i < n_rows; ++i) total += static_cast<double>(row_loss_[i]);
  return total / static_cast<double>(network_.n_features());
}

/// A block's rows forward to the loss and back to the first layer, leaving values and deltas at every boundary.
template <class T>
void Trainer<T>::pass_block(const EpochSpec& epoch, const RowList& rows, const Block& block, Index n_rows,
                            const DrawPlace& place) {
  const T* params = params_.data();
  read_rows(epoch.input, *epoch.scaling, rows, block.first_row, block.n_rows, input_strips_, block.first_row);
  input_strips_.to_block(block, block.first_row, values(0, block));
  const T* target = values(0, block);
  if (epoch.target) {
    T* to = target_.data() + network_.n_features() * block.first_row;
    read_rows(*epoch.target, *epoch.scaling, rows, block.first_row, block.n_rows, target_strips_, block.first_row);
    target_strips_.to_block(block, block.first_row, to);
    target = to;
  }
  const double scale = 1 / (static_cast<double>(network_.n_features()) * static_cast<double>(n_rows));
  T* row_scale = row_scale_.data() + block.first_row;
  for (Index i = 0; i < block.width; ++i) {
    const bool exists = i < block.n_rows;
    const double weight = exists && epoch.sample_weight ? epoch.sample_weight[rows[block.first_row + i]] : 1;
    row_scale[i] = exists ? static_cast<T>(scale * weight) : T(0);
  }

  for (Index i = 0; i < n_layers(); ++i) {
    layer(i).forward_train(block, params, values(i, block), values(i + 1, block), place);
  }
  T* row_loss = row_loss_.data() + block.first_row;
  network_.output().differentiate(objective_.loss, block, values(n_layers(), block), target, row_scale, row_loss,
                                  deltas(n_layers(), block));
  if (epoch.sample_weight) {
    for (Index i = 0; i < block.n_rows; ++i) {
      row_loss[i] *= static_cast<T>(epoch.sample_weight[rows[block.first_row + i]]);
    }
  }
  for (Index i = n_layers() - 1; i >= 0; --i) {
    if (i + 1 == network_.n_encoder() && activity_penalty_) {
      const Index q = network_.code_size();
      const Vec<T> d(static_cast<T>(network_.n_features()));
      for (Index at = 0; at < q * block.width; at += kLanes<T>) {
        const Vec<T> factor = d * Vec<T>::load(row_scale + at % block.width);
        activity_penalty_.add_gradient(values(i + 1, block) + at, kLanes<T>, factor, deltas(i + 1, block) + at);
      }
    }
    layer(i).backward(block, params, values(i, block), values(i + 1, block), deltas(i + 1, block),
                      i > 0 ? deltas(i, block) : nullptr, place);
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
