#include "block_pass.hpp"

#include <stdexcept>

namespace aefast {

template <class T>
BlockPass<T>::BlockPass(const Network<T>& network_, Buffer<T>& params_, Buffer<T>& gradient_, Objective<T>& objective_,
                        StepWorkspace<T>& workspace, const NoiseSpec& noise)
    : network(network_),
      params(params_),
      gradient(gradient_),
      objective(objective_),
      work(workspace),
      noise_(noise),
      unscaled_(Scaling::none(network.n_features())) {
  fuse_slopes();
}

/// Lets each dense layer's backward pass begin that of a dense layer below, unless a penalty is added between them.
template <class T>
void BlockPass<T>::fuse_slopes() {
  for (Index i = 1; i < n_layers(); ++i) {
    auto *below = dynamic_cast<Dense<T>*>(&layer(i - 1)), *above = dynamic_cast<Dense<T>*>(&layer(i));
    const bool has_penalty_between = i == network.n_encoder() && objective.code_penalty;
    if (below && above && !has_penalty_between) above->take_slope_of(*below);
  }
}

template <class T>
void BlockPass<T>::prepare(Index max_rows, const EpochSpec& epoch, Index n_chunks) {
  if (epoch.target && has_noise(epoch))
    throw std::invalid_argument("an epoch takes either a target or a noise, not both");
  const bool has_moved = work.prepare(network, max_rows, has_own_target(epoch), n_chunks);
  if (has_moved && objective.contraction) {
    objective.contraction->prepare(max_rows, network.n_parameters(), work.team.size());
  }
}

template <class T>
void BlockPass<T>::begin_slice(const SliceRows<T>& slice) {
  weigh_rows(slice);
  if (slice.epoch.add_noise) add_user_noise(slice);
  if (objective.contraction) objective.contraction->begin_batch(params.data());
}

template <class T>
void BlockPass<T>::sum_gradients(const SliceRows<T>& slice, const OnGradient& on_gradient) {
  if (objective.contraction) objective.contraction_gradient = objective.contraction->gradient(work.blocks);
  work.team.run(static_cast<Index>(work.tasks.size()), [&](Index i, int) {
    const auto& task = work.tasks[static_cast<std::size_t>(i)];
    layer(task.layer).gradient(task.index, work.blocks, slice.slice, gradient.data(), on_gradient);
  });
}

template <class T>
void BlockPass<T>::run(const SliceRows<T>& slice, const Block& block, int thread) {
  read(slice, block);
  forward_to_loss(0, slice, block, thread);
  backward(0, n_layers(), slice, block);
}

/// Sets the weight of each row in the batch's loss, and that weight times the loss's scale.
template <class T>
void BlockPass<T>::weigh_rows(const SliceRows<T>& slice) {
  const double* sample_weight = slice.epoch.sample_weight;
  const Index n_rows = slice.n_rows, n_batch = slice.slice.n_batch;
  const bool is_even = !sample_weight && !objective.is_mean_of_known(slice.epoch);
  if (is_even && n_rows == work.n_rows_weighed && n_batch == work.n_batch_weighed) return;
  work.n_rows_weighed = is_even ? n_rows : 0;
  work.n_batch_weighed = n_batch;
  const Index padded = round_up(n_rows, kLanes<T>);
  std::fill_n(work.row_weight.data(), padded, T(0));
  for (Index i = 0; i < n_rows; ++i) {
    const double weight = sample_weight ? sample_weight[slice.rows[i]] : 1;
    work.row_weight[i] = static_cast<T>(weight / static_cast<double>(n_batch));
  }
  const Vec<T> scale(objective.loss_scale);
  map(
      work.row_scale.data(), padded, [&](const Vec<T>& w) { return w * scale; },
      static_cast<const T*>(work.row_weight.data()));
}

/// Reads a block's rows into values(0) as the network sees them.
template <class T>
void BlockPass<T>::read_input(const EpochSpec& epoch, const RowList& rows, const Block& block) {
  T* input = work.values(0, block);
  read_block(epoch.input, *epoch.scaling, rows, block, input);
  if (epoch.scaling->masks_missing()) clear_missing(network.n_features() * block.width, input, input);
}

/// Reads a slice's rows, scaled, and calls the user's noise on them.
template <class T>
void BlockPass<T>::add_user_noise(const SliceRows<T>& slice) {
  const Index d = network.n_features();
  noisy_rows_.reserve(work.max_rows() * d);
  for (const Block& block : work.blocks) {
    read_input(slice.epoch, slice.rows, block);
    const T* from = work.values(0, block);
    double* to = noisy_rows_.data() + block.first_row * d;
    for (Index i = 0; i < block.n_rows; ++i) {
      for (Index j = 0; j < d; ++j) to[i * d + j] = static_cast<double>(from[j * block.width + i]);
    }
  }
  slice.epoch.add_noise(noisy_rows_.data(), slice.n_rows);
}

/// Reads the input and, if they differ, the target.
template <class T>
void BlockPass<T>::read(const SliceRows<T>& slice, const Block& block) {
  const EpochSpec& epoch = slice.epoch;
  const Index d = network.n_features();
  T* input = work.values(0, block);
  T* target = work.target.data() + d * block.first_row;
  if (epoch.target) {
    read_input(epoch, slice.rows, block);
    return read_block(*epoch.target, *epoch.scaling, slice.rows, block, target);
  }
  read_block(epoch.input, *epoch.scaling, slice.rows, block, input);
  if (!has_own_target(epoch)) return;
  std::copy_n(input, d * block.width, target);
  if (noise_) {
    const Philox philox(slice.step.seed, Stream::noise, slice.step.epoch);
    noise_.apply(philox, slice.step.first_position + block.first_row, d, block, target, input);
  } else if (epoch.add_noise) {
    const Index bytes = sizeof(double);
    const InputView view{
        reinterpret_cast<const std::byte*>(noisy_rows_.data()), DType::f64, work.max_rows(), d, d * bytes, bytes};
    read_block(view, unscaled_, {}, block, input);
  }
  if (epoch.scaling->masks_missing()) clear_missing(d * block.width, target, input);
}

template <class T>
void BlockPass<T>::forward(Index first, Index last, const SliceRows<T>& slice, const Block& block) {
  for (Index i = first; i < last; ++i) {
    layer(i).forward_train(block, params.data(), work.values(i, block), work.values(i + 1, block), slice.step);
  }
}

template <class T>
void BlockPass<T>::forward_to_loss(Index first, const SliceRows<T>& slice, const Block& block, int thread) {
  const EpochSpec& epoch = slice.epoch;
  const bool is_fused = objective.is_fused(epoch);
  forward(first, n_layers() - (is_fused ? 1 : 0), slice, block);
  const T* compared =
      has_own_target(epoch) ? work.target.data() + network.n_features() * block.first_row : work.values(0, block);
  const Target<T> target{compared, epoch.scaling->masks_missing()};
  T* row_scale = work.row_scale.data() + block.first_row;
  if (objective.is_mean_of_known(epoch)) {
    T* factor = work.row_factor.data() + block.first_row;
    network.output().row_factors(block, target, factor);
    map(row_scale, block.width, [](const Vec<T>& a, const Vec<T>& b) { return a * b; }, row_scale, factor);
  }
  if (is_fused) {
    forward_fused(target.values, slice, block);
  } else {
    network.output().differentiate(objective.loss, block, work.values(n_layers(), block), target, row_scale,
                                   objective.threshold, work.row_loss.data() + block.first_row,
                                   work.deltas(n_layers(), block));
  }
  finish_losses(slice, block);
  add_contraction(block, thread);
}

template <class T>
void BlockPass<T>::forward_fused(const T* target, const SliceRows<T>& slice, const Block& block) {
  objective.fused_layer->forward_slopes(
      block, params.data(), work.values(n_layers() - 1, block), target, work.row_scale.data() + block.first_row,
      work.panel_loss.data() + block.first_row, work.row_loss.size(), work.deltas(n_layers(), block), slice.step);
}

template <class T>
void BlockPass<T>::finish_losses(const SliceRows<T>& slice, const Block& block) {
  const EpochSpec& epoch = slice.epoch;
  T* row_loss = work.row_loss.data() + block.first_row;
  if (objective.is_fused(epoch)) {
    std::fill_n(row_loss, block.width, T(0));
    for (Index at = block.first_row; at < work.panel_loss.size(); at += work.row_loss.size()) {
      map(
          row_loss, block.width, [](const Vec<T>& a, const Vec<T>& b) { return a + b; }, row_loss,
          static_cast<const T*>(work.panel_loss.data() + at));
    }
  }
  map(row_loss, block.width, [this](const Vec<T>& r) { return r * Vec<T>(objective.loss_scale); }, row_loss);
  if (objective.is_mean_of_known(epoch)) {
    const T* factor = work.row_factor.data() + block.first_row;
    map(row_loss, block.width, [](const Vec<T>& a, const Vec<T>& b) { return a * b; }, row_loss, factor);
  }
  for (Index i = 0; i < n_layers(); ++i) layer(i).add_row_losses(block, slice.step.beta, row_loss);
  if (!epoch.sample_weight) return;
  for (Index i = 0; i < block.n_rows; ++i) {
    row_loss[i] *= static_cast<T>(epoch.sample_weight[slice.rows[block.first_row + i]]);
  }
}

template <class T>
void BlockPass<T>::backward(Index first, Index last, const SliceRows<T>& slice, const Block& block) {
  for (Index i = last - 1; i >= first; --i) {
    layer(i).backward(block, params.data(), work.values(i, block), work.values(i + 1, block), work.deltas(i + 1, block),
                      i > 0 ? work.deltas(i, block) : nullptr, slice.step);
    if (i != network.n_encoder() || !objective.code_penalty) continue;
    // Layer i is the decoder's first, so the code's gradient is complete but for its penalty.
    const Index n = network.code_size() * block.width;
    for (Index at = 0; at < n; at += kLanes<T>) {
      const Vec<T> weight = Vec<T>::load(work.row_weight.data() + block.first_row + at % block.width);
      objective.code_penalty.add_gradient(work.values(i, block) + at, kLanes<T>, weight, work.deltas(i, block) + at);
    }
  }
}

template <class T>
double BlockPass<T>::code_penalties(const EpochSpec& epoch, const RowList& rows, Index n_rows) {
  const Index n_encoder = network.n_encoder();
  work.set_blocks(n_rows, kPanel<T>, objective.has_row_penalties());
  work.n_rows_weighed = 0;
  std::fill_n(work.row_weight.data(), round_up(n_rows, kLanes<T>), T(0));
  if (objective.contraction) objective.contraction->begin_batch(params.data());
  work.team.run(static_cast<Index>(work.blocks.size()), [&](Index at, int thread) {
    const Block& block = work.blocks[static_cast<std::size_t>(at)];
    read_input(epoch, rows, block);
    for (Index i = 0; i < n_encoder; ++i) {
      layer(i).forward(block, params.data(), work.values(i, block), work.values(i + 1, block));
    }
    add_contraction(block, thread);
    add_activity(block);
  });
  double total = 0;
  for (Index i = 0; i < n_encoder; ++i) {
    // A batchwise layer with parameters normalises the batch, which scoring does not do.
    if (layer(i).n_batch_tasks() == 0 || !layer(i).parameters().empty()) continue;
    layer(i).forward_batch(0, work.blocks, params.data(), work.values(i), work.values(i + 1));
    total += layer(i).batch_penalty();
  }
  return total;
}

/// Adds each row's contractive penalty to `row_penalty`, and keeps its gradient.
template <class T>
void BlockPass<T>::add_contraction(const Block& block, int thread) {
  if (!objective.contraction) return;
  std::vector<const T*> inputs;
  for (Index i = 0; i < network.n_encoder(); ++i) inputs.push_back(work.values(i, block));
  objective.contraction->pass_block(block, params.data(), inputs, work.row_weight.data() + block.first_row,
                                    work.row_penalty.data() + block.first_row, thread);
}

template <class T>
void BlockPass<T>::add_activity(const Block& block) {
  if (!objective.code_penalty) return;
  const T* code = work.values(network.n_encoder(), block);
  for (Index row = 0; row < block.n_rows; ++row) {
    double total = 0;
    for (Index j = 0; j < network.code_size(); ++j) {
      total += objective.code_penalty.value(code + j * block.width + row, 1);
    }
    work.row_penalty[block.first_row + row] += static_cast<T>(total);
  }
}

template class BlockPass<float>;
template class BlockPass<double>;

}  // namespace aefast
