// What training does with the rows of a batch, from reading them to their gradients. Epochs and the rest of
// trainer.hpp are in trainer.cpp.
#include <numeric>

#include "trainer.hpp"

namespace aefast {
namespace {

constexpr Index kFewBytes = 8 << 20;  // of values and their gradients, for which a batch is not sliced
constexpr Index kRowsOfThread = 128;  // of a slice
template <class T>
constexpr Index kChunk = 256 / kPanel<T> * kPanel<T>;
constexpr Index kFewParameters = 128 << 10;  // bytes of gradients that are cheaper sent to other threads than rows are
constexpr Index kParametersOfOne = 4096;     // whose gradients one thread adds up sooner than others hear of them
constexpr Index kChunksApart = 8;            // of a slice, but for the last, that has up to twice as many
constexpr Index kWorkOfLayer = 300'000;      // multiply-adds of a layer that outweigh a barrier
const Finished kUnfinished = [](Index, Index, bool) {};  // of a gradient to which more is added

}  // namespace

template <class T>
double Trainer<T>::differentiate(const EpochSpec& epoch) {
  prepare(epoch.n_rows, epoch);
  const Slice all{0, epoch.n_rows, epoch.n_rows};
  run_slice(epoch, {0, epoch.rows}, 0, epoch.n_rows, all, false,
            [&](Index offset, Index count, bool is_weight) { add_penalties(offset, count, is_weight); });
  double objective = 0;
  add_losses(epoch.n_rows, all, objective);
  objective /= static_cast<double>(epoch.n_rows);
  for (const Parameter& parameter : network_.parameters()) {
    if (parameter.penalised) {
      objective += weight_penalty_.value(params_.data() + parameter.offset, parameter.template size<T>());
    }
  }
  for (const auto& each : network_.layers()) objective += each->batch_penalty();
  for (const Block& block : blocks_) add_activity(block);
  for (Index i = 0; i < epoch.n_rows; ++i) objective += static_cast<double>(row_weight_[i] * row_penalty_[i]);
  return objective;
}

template <class T>
void Trainer<T>::penalties(const EpochSpec& epoch, T* to) {
  constexpr Index kRowsOfChunk = 256;
  const Index chunk = std::min(epoch.n_rows, std::max(max_rows_, kRowsOfChunk)), n_encoder = network_.n_encoder();
  prepare(chunk, epoch);
  for (Index first = 0; first < epoch.n_rows; first += chunk) {
    const Index n = std::min(chunk, epoch.n_rows - first);
    const RowList rows = epoch.rows ? RowList{0, epoch.rows + first} : RowList{first, nullptr};
    set_blocks(n, kPanel<T>);
    n_rows_weighed_ = 0;
    std::fill_n(row_weight_.data(), round_up(n, kLanes<T>), T(0));
    if (contraction_) contraction_->begin_batch(params_.data());
    team_->run(static_cast<Index>(blocks_.size()), [&](Index at, int thread) {
      const Block& block = blocks_[static_cast<std::size_t>(at)];
      read_input(epoch, rows, block);
      for (Index i = 0; i < n_encoder; ++i) {
        layer(i).forward(block, params_.data(), values(i, block), values(i + 1, block));
      }
      add_contraction(block, thread);
      add_activity(block);
    });
    double of_batch = 0;
    for (Index i = 0; i < n_encoder; ++i) {  // a batchwise layer without parameters has nothing that this would move
      if (layer(i).n_batch_tasks() == 0 || !layer(i).parameters().empty()) continue;
      const auto at = static_cast<std::size_t>(i);
      layer(i).forward_batch(0, blocks_, params_.data(), values_[at].data(), values_[at + 1].data());
      of_batch += layer(i).batch_penalty();
    }
    for (Index i = 0; i < n; ++i) to[first + i] = row_penalty_[i] + static_cast<T>(of_batch);
  }
}

/// Cuts a batch into blocks, whose penalties begin at zero. What is so already is not written: other threads have read
/// it, and would have to fetch it again.
template <class T>
void Trainer<T>::set_blocks(Index n_rows, Index width) {
  if (contraction_ || activity_penalty_) std::fill_n(row_penalty_.data(), round_up(n_rows, kLanes<T>), T(0));
  if (!blocks_.empty() && n_rows == n_rows_cut_ && width == blocks_.front().width) return;
  n_rows_cut_ = n_rows;
  blocks_.clear();
  for (Index i = 0; i * width < n_rows; ++i) blocks_.push_back(block_of<T>(i, n_rows, width));
}

/// The weight of each row of a slice in the batch's loss, and times the loss's scale.
template <class T>
void Trainer<T>::weigh_rows(const EpochSpec& epoch, const RowList& rows, Index n_rows, Index n_batch) {
  const bool is_even = !epoch.sample_weight && !is_mean_of_known(epoch);
  if (is_even && n_rows == n_rows_weighed_ && n_batch == n_batch_weighed_) return;
  n_rows_weighed_ = is_even ? n_rows : 0;
  n_batch_weighed_ = n_batch;
  const Index padded = round_up(n_rows, kLanes<T>);
  std::fill_n(row_weight_.data(), padded, T(0));
  for (Index i = 0; i < n_rows; ++i) {
    const double weight = epoch.sample_weight ? epoch.sample_weight[rows[i]] : 1;
    row_weight_[i] = static_cast<T>(weight / static_cast<double>(n_batch));
  }
  map(row_scale_.data(), padded, [this](const Vec<T>& w) { return w * Vec<T>(loss_scale_); }, row_weight_.data());
}

/// Sums the data loss of a batch and leaves its gradient, handing finished stretches to `finished`.
template <class T>
double Trainer<T>::run_batch(const EpochSpec& epoch, const RowList& rows, Index first, Index n_rows, const Slicing& by,
                             const Finished& finished) {
  double total = 0;
  for (Index at = 0, n = 0; at < n_rows; at += n) {
    n = n_rows - at < 2 * by.rows ? n_rows - at : by.rows;
    const Slice slice{at, n_rows, by.chunk};
    run_slice(epoch, rows.from(at), first + at, n, slice, by.is_apart, at + n < n_rows ? kUnfinished : finished);
    add_losses(n, slice, total);
  }
  return total;
}

/// Slices are for batches that no cache near a core holds. They have as many rows as it holds, or as weigh twice as
/// much as the gradients that each slice reads and writes, and some for each thread. Chunks do not depend on the
/// threads, nor do the slices of networks with few parameters, whose chunks are apart.
template <class T>
typename Trainer<T>::Slicing Trainer<T>::slicing(Index n_rows, const EpochSpec& epoch) const {
  constexpr Index kSize = static_cast<Index>(sizeof(T));
  const bool takes_slices = std::ranges::all_of(network_.layers(), [](auto& each) { return each->takes_slices(); });
  if (!takes_slices || contraction_ || epoch.corrupt) return {n_rows, n_rows};
  const Index values_of_row = 2 * std::accumulate(sizes_.begin(), sizes_.end(), Index{0});
  if (network_.n_parameters() * kSize <= kFewParameters && n_rows >= kChunk<T>) {
    const Index chunk = std::min(kChunk<T>, round_up((n_rows + 1) / 2, kPanel<T>));
    return {kChunksApart * chunk, chunk, true};
  }
  if (n_rows * values_of_row * kSize <= kFewBytes) return {n_rows, n_rows};
  const Index least = std::max(kNearBytes / kSize, 4 * network_.n_parameters());
  return {round_up(std::max(least / values_of_row, kRowsOfThread * max_threads_), kChunk<T>), kChunk<T>};
}

/// Tasks of a step, by one thread or by all.
template <class T>
template <class Task>
void Trainer<T>::run(Index n_tasks, Task&& task) {
  if (!pace_.is_alone()) return team_->run(n_tasks, task);
  for (Index i = 0; i < n_tasks; ++i) task(i, 0);
}

/// Whether threads take parts of each layer's outputs, with a barrier between layers, rather than rows: where rows are
/// so few that a thread's would be a register of each feature, of which products make less, and layers are large.
template <class T>
bool Trainer<T>::shares_layers(Index n_rows, const EpochSpec& epoch) const {
  const bool is_plain = !corruption_ && !epoch.corrupt && !epoch.target && !epoch.scaling->masks_missing();
  const Index work_of_layer = network_.work() * n_rows / n_layers();
  return can_share_layers_ && is_plain && n_threads() > 1 && n_rows > kLanes<T> && n_rows <= kLanes<T> * n_threads() &&
         work_of_layer >= kWorkOfLayer;
}

template <class T>
void Trainer<T>::run_slice(const EpochSpec& epoch, const RowList& rows, Index first, Index n_rows, const Slice& slice,
                           bool is_apart, const Finished& finished) {
  // Blocks nearly equal, and some for each thread; contraction sums over blocks, whose width is then fixed, and chunks
  // consist of whole blocks.
  const bool shares = shares_layers(n_rows, epoch);
  const Index n_blocks = std::max<Index>(shares ? 1 : n_threads(), (n_rows + kPanel<T> - 1) / kPanel<T>);
  Index width = contraction_ || is_apart ? kPanel<T> : round_up((n_rows + n_blocks - 1) / n_blocks, kLanes<T>);
  while (n_rows > slice.chunk && slice.chunk % width != 0) width += kLanes<T>;
  set_blocks(n_rows, width);
  weigh_rows(epoch, rows, n_rows, slice.n_batch);
  if (epoch.corrupt) corrupt_rows(epoch, rows, n_rows);

  const Step<T> step{seed_, epoch.epoch, first, row_weight_.data(), static_cast<T>(epoch.beta), slice.chunk};
  if (is_apart) return pass_chunks(epoch, rows, step, slice, finished);
  if (contraction_) contraction_->begin_batch(params_.data());
  if (shares) pass_layers(epoch, rows, step);
  else pass_rows(epoch, rows, step);
  if (contraction_) contraction_gradient_ = contraction_->gradient(blocks_);
  run(static_cast<Index>(tasks_.size()), [&](Index i, int) {
    const GradientTask& task = tasks_[static_cast<std::size_t>(i)];
    layer(task.layer).gradient(task.index, blocks_, slice, gradient_.data(), finished);
  });
}

/// Chunks of a slice go forward and back each by one thread, and into a gradient of its own while they are near. After
/// the last slice these are added up: threads send one another gradients, and no rows.
template <class T>
void Trainer<T>::pass_chunks(const EpochSpec& epoch, const RowList& rows, const Step<T>& step, const Slice& slice,
                             const Finished& finished) {
  const Index n_parameters = network_.n_parameters(), n_blocks = static_cast<Index>(blocks_.size());
  const Index size = slice.chunk / kPanel<T>, n_chunks = (n_blocks + size - 1) / size;
  run(n_chunks, [&](Index i, int thread) {
    const auto chunk = std::span<const Block>(blocks_).subspan(
        static_cast<std::size_t>(i * size), static_cast<std::size_t>(std::min(size, n_blocks - i * size)));
    for (const Block& block : chunk) pass_stage(stages_.front(), epoch, rows, block, step, thread);
    const Slice own{i < kChunksApart ? slice.first_row : 0, slice.n_batch, slice.chunk};
    for (const GradientTask& task : tasks_) {
      layer(task.layer).gradient(task.index, chunk, own, apart_.data() + i * n_parameters, kUnfinished);
    }
  });
  if (slice.first_row + blocks_.back().first_row + blocks_.back().n_rows < slice.n_batch) return;
  const auto add_up = [&](Index i, int) {
    const Stretch& stretch = stretches_[static_cast<std::size_t>(i)];
    T* total = gradient_.data() + stretch.offset;
    const T* each = apart_.data() + stretch.offset;
    for (Index at = 0; at < stretch.count; at += kLanes<T>) {
      Vec<T> sum = Vec<T>::load(each + at);
      for (Index chunk = 1; chunk < n_chunks; ++chunk) sum = sum + Vec<T>::load(each + chunk * n_parameters + at);
      sum.store(total + at);
    }
    finished(stretch.offset, stretch.count, stretch.is_weight);
  };
  const Index n_stretches = static_cast<Index>(stretches_.size());
  if (n_parameters > kParametersOfOne) return run(n_stretches, add_up);
  for (Index i = 0; i < n_stretches; ++i) add_up(i, 0);
}

/// Forward to the loss and back, by blocks of rows.
template <class T>
void Trainer<T>::pass_rows(const EpochSpec& epoch, const RowList& rows, const Step<T>& step) {
  const auto each_block = [&](auto&& f) {
    run(static_cast<Index>(blocks_.size()),
        [&](Index i, int thread) { f(blocks_[static_cast<std::size_t>(i)], thread); });
  };
  const auto boundary = [](std::vector<Buffer<T>>& all, Index i) { return all[static_cast<std::size_t>(i)].data(); };
  for (const Stage& stage : stages_) {
    each_block([&](const Block& block, int thread) { pass_stage(stage, epoch, rows, block, step, thread); });
    if (stage.last == n_layers()) break;
    const Index at = stage.last;
    run(layer(at).n_batch_tasks(), [&](Index task, int) {
      layer(at).forward_batch(task, blocks_, params_.data(), boundary(values_, at), boundary(values_, at + 1));
    });
  }
  for (std::size_t i = stages_.size() - 1; i-- > 0;) {
    const Index at = stages_[i].last;
    run(layer(at).n_batch_tasks(), [&](Index task, int) {
      layer(at).backward_batch(task, blocks_, params_.data(), boundary(values_, at), boundary(deltas_, at + 1),
                               boundary(deltas_, at), gradient_.data());
    });
    each_block([&](const Block& block, int) { backward(stages_[i].first, stages_[i].last, block, step); });
  }
}

/// The way forward through a stage, and back if that is the last.
template <class T>
void Trainer<T>::pass_stage(const Stage& stage, const EpochSpec& epoch, const RowList& rows, const Block& block,
                            const Step<T>& step, int thread) {
  const bool is_last = stage.last == n_layers();
  if (stage.first == 0) read(epoch, rows, block, step);
  forward(stage.first, stage.last - (is_last && joins_loss(epoch) ? 1 : 0), block, step);
  if (!is_last) return;
  differentiate_loss(epoch, rows, block, step, thread);
  backward(stage.first, stage.last, block, step);
}

/// `pass_rows` by parts of each layer's features.
template <class T>
void Trainer<T>::pass_layers(const EpochSpec& epoch, const RowList& rows, const Step<T>& step) {
  const Index n_blocks = static_cast<Index>(blocks_.size()), n_parts = n_threads();
  const auto each_part = [&](auto&& f) {
    run(n_blocks * n_parts, [&](Index i, int) {
      Block block = blocks_[static_cast<std::size_t>(i / n_parts)];
      block.part = i % n_parts;
      block.n_parts = n_parts;
      f(block);
    });
  };
  each_part([&](const Block& block) {
    const Features share = block.share<T>(network_.n_features());
    T* to = values(0, block) + share.first * block.width;
    if (share.count() > 0) read_block(epoch.input.part(share), *epoch.scaling, rows, block, to, share.first);
  });
  const bool joins = joins_loss(epoch);
  for (Index i = 0; i < n_layers(); ++i) {
    each_part([&](const Block& block) {
      if (joins && i + 1 == n_layers()) forward_slopes(block, values(0, block), step);
      else forward(i, i + 1, block, step);
    });
  }
  if (joins) {
    for (const Block& block : blocks_) finish_losses(epoch, rows, block, step);
  } else {
    run(n_blocks, [&](Index i, int thread) {
      differentiate_loss(epoch, rows, blocks_[static_cast<std::size_t>(i)], step, thread);
    });
  }
  for (Index last = n_layers(), first; last > 0; last = first) {
    first = last > 2 ? last - 1 : 0;  // the first layer gives nothing that others wait for
    each_part([&](const Block& block) { backward(first, last, block, step); });
  }
}

/// Of the rows of a slice, a chunk at a time.
template <class T>
void Trainer<T>::add_losses(Index n_rows, const Slice& slice, double& total) const {
  for (Index first = 0; first < n_rows; first += slice.chunk) {
    constexpr Index kParts = 8;  // summed apart, so that none waits for the one before
    double parts[kParts] = {};
    const Index last = std::min(first + slice.chunk, n_rows), whole = last - (last - first) % kParts;
    for (Index at = first; at < whole; at += kParts) {
      for (Index i = 0; i < kParts; ++i) parts[i] += static_cast<double>(row_loss_[at + i]);
    }
    for (Index at = whole; at < last; ++at) parts[0] += static_cast<double>(row_loss_[at]);
    total += std::accumulate(parts, parts + kParts, 0.0);
  }
}

/// A block's rows into values(0), as the network sees them.
template <class T>
void Trainer<T>::read_input(const EpochSpec& epoch, const RowList& rows, const Block& block) {
  T* input = values(0, block);
  read_block(epoch.input, *epoch.scaling, rows, block, input);
  if (epoch.scaling->masks_missing()) clear_missing(network_.n_features() * block.width, input, input);
}

/// The same, where noise is added, and the target.
template <class T>
void Trainer<T>::read(const EpochSpec& epoch, const RowList& rows, const Block& block, const Step<T>& step) {
  const Index d = network_.n_features();
  const bool masks = epoch.scaling->masks_missing();
  T* input = values(0, block);
  T* target = target_.data() + d * block.first_row;
  if (epoch.target) {
    read_input(epoch, rows, block);
    return read_block(*epoch.target, *epoch.scaling, rows, block, target);
  }
  read_block(epoch.input, *epoch.scaling, rows, block, input);
  if (!corruption_ && !epoch.corrupt && !masks) return;
  std::copy_n(input, d * block.width, target);
  if (corruption_) {
    const Philox philox(step.seed, Draw::noise, step.epoch);
    corruption_.apply(philox, step.first_position + block.first_row, d, block, target, input);
  } else if (epoch.corrupt) {
    const Index bytes = sizeof(double);
    const InputView view{
        reinterpret_cast<const std::byte*>(corrupted_.data()), DType::f64, max_rows_, d, d * bytes, bytes};
    read_block(view, unscaled_, {}, block, input);
  }
  if (masks) clear_missing(d * block.width, target, input);
}

/// Reads all rows of a batch, scaled, and lets the user's noise change them.
template <class T>
void Trainer<T>::corrupt_rows(const EpochSpec& epoch, const RowList& rows, Index n_rows) {
  const Index d = network_.n_features();
  corrupted_.reserve(max_rows_ * d);
  for (const Block& block : blocks_) {
    read_input(epoch, rows, block);
    for (Index i = 0; i < block.n_rows; ++i) {
      for (Index j = 0; j < d; ++j) {
        corrupted_[(block.first_row + i) * d + j] = static_cast<double>(values(0, block)[j * block.width + i]);
      }
    }
  }
  epoch.corrupt(corrupted_.data(), n_rows);
}

template <class T>
void Trainer<T>::forward(Index first, Index last, const Block& block, const Step<T>& step) {
  for (Index i = first; i < last; ++i) {
    layer(i).forward_train(block, params_.data(), values(i, block), values(i + 1, block), step);
  }
}

template <class T>
void Trainer<T>::differentiate_loss(const EpochSpec& epoch, const RowList& rows, const Block& block,
                                    const Step<T>& step, int thread) {
  const bool masks = epoch.scaling->masks_missing();
  const bool is_apart = epoch.target || corruption_ || epoch.corrupt || masks;
  const Target<T> target{is_apart ? target_.data() + network_.n_features() * block.first_row : values(0, block), masks};
  T* row_loss = row_loss_.data() + block.first_row;
  T* row_scale = row_scale_.data() + block.first_row;
  T* factor = row_factor_.data() + block.first_row;
  const auto multiply = [](const Vec<T>& a, const Vec<T>& b) { return a * b; };
  if (is_mean_of_known(epoch)) {
    network_.output().row_factors(block, target, factor);
    map(row_scale, block.width, multiply, row_scale, factor);
  }
  T* delta = deltas(n_layers(), block);
  if (joins_loss(epoch)) {
    forward_slopes(block, target.values, step);
  } else {
    network_.output().differentiate(objective_.loss, block, values(n_layers(), block), target, row_scale,
                                    static_cast<T>(objective_.threshold), row_loss, delta);
  }
  finish_losses(epoch, rows, block, step);
  add_contraction(block, thread);
}

/// The last layer, with the loss in its product.
template <class T>
void Trainer<T>::forward_slopes(const Block& block, const T* target, const Step<T>& step) {
  squares_->forward_slopes(block, params_.data(), values(n_layers() - 1, block), target,
                           row_scale_.data() + block.first_row, panel_loss_.data() + block.first_row, row_loss_.size(),
                           deltas(n_layers(), block), step);
}

/// From the sums of a row's terms to its loss.
template <class T>
void Trainer<T>::finish_losses(const EpochSpec& epoch, const RowList& rows, const Block& block, const Step<T>& step) {
  T* row_loss = row_loss_.data() + block.first_row;
  if (joins_loss(epoch)) {
    std::fill_n(row_loss, block.width, T(0));
    for (Index at = block.first_row; at < panel_loss_.size(); at += row_loss_.size()) {
      map(
          row_loss, block.width, [](const Vec<T>& a, const Vec<T>& b) { return a + b; }, row_loss,
          static_cast<const T*>(panel_loss_.data() + at));
    }
  }
  map(row_loss, block.width, [this](const Vec<T>& r) { return r * Vec<T>(loss_scale_); }, row_loss);
  if (is_mean_of_known(epoch)) {
    const T* factor = row_factor_.data() + block.first_row;
    map(row_loss, block.width, [](const Vec<T>& a, const Vec<T>& b) { return a * b; }, row_loss, factor);
  }
  for (Index i = 0; i < n_layers(); ++i) layer(i).add_row_losses(block, step.beta, row_loss);
  if (!epoch.sample_weight) return;
  for (Index i = 0; i < block.n_rows; ++i) {
    row_loss[i] *= static_cast<T>(epoch.sample_weight[rows[block.first_row + i]]);
  }
}

/// Adds the contractive penalty of each row to `row_penalty_`, and keeps its gradient.
template <class T>
void Trainer<T>::add_contraction(const Block& block, int thread) {
  if (!contraction_) return;
  std::vector<const T*> inputs;
  for (Index i = 0; i < network_.n_encoder(); ++i) inputs.push_back(values(i, block));
  contraction_->pass_block(block, params_.data(), inputs, row_weight_.data() + block.first_row,
                           row_penalty_.data() + block.first_row, thread);
}

/// Adds the penalties on the code's outputs, the values alone.
template <class T>
void Trainer<T>::add_activity(const Block& block) {
  if (!activity_penalty_) return;
  const T* code = values(network_.n_encoder(), block);
  for (Index row = 0; row < block.n_rows; ++row) {
    double total = 0;
    for (Index j = 0; j < network_.code_size(); ++j) total += activity_penalty_.value(code + j * block.width + row, 1);
    row_penalty_[block.first_row + row] += static_cast<T>(total);
  }
}

template <class T>
void Trainer<T>::backward(Index first, Index last, const Block& block, const Step<T>& step) {
  for (Index i = last - 1; i >= first; --i) {
    layer(i).backward(block, params_.data(), values(i, block), values(i + 1, block), deltas(i + 1, block),
                      i > 0 ? deltas(i, block) : nullptr, step);
    if (i == network_.n_encoder() && activity_penalty_) {  // the first of the decoder has given the code's gradient
      const Index n = network_.code_size() * block.width;
      for (Index at = 0; at < n; at += kLanes<T>) {
        const Vec<T> weight = Vec<T>::load(row_weight_.data() + block.first_row + at % block.width);
        activity_penalty_.add_gradient(values(i, block) + at, kLanes<T>, weight, deltas(i, block) + at);
      }
    }
  }
}

template double Trainer<float>::differentiate(const EpochSpec&);
template void Trainer<float>::penalties(const EpochSpec&, float*);
template Trainer<float>::Slicing Trainer<float>::slicing(Index, const EpochSpec&) const;
template double Trainer<float>::run_batch(const EpochSpec&, const RowList&, Index, Index, const Slicing&,
                                          const Finished&);
template double Trainer<double>::differentiate(const EpochSpec&);
template void Trainer<double>::penalties(const EpochSpec&, double*);
template Trainer<double>::Slicing Trainer<double>::slicing(Index, const EpochSpec&) const;
template double Trainer<double>::run_batch(const EpochSpec&, const RowList&, Index, Index, const Slicing&,
                                           const Finished&);
}  // namespace aefast
