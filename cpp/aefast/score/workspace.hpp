/// The buffers that one thread of a scorer uses for a block of rows.
#pragma once

#include "scorer.hpp"

namespace aefast {

/// The buffers of one thread.
template <class T>
struct Scorer<T>::Workspace {
  /// `n_joint` is the number of residuals and code units that distances are computed from.
  Workspace(const Network<T>& network, const LowPrecisionNetwork* low_precision_, Index n_joint,
            const std::optional<Distances<T>>& distances, Index width, bool has_missing)
      : input(network.n_features() * width, Unset{}),
        seen(has_missing ? network.n_features() * width : 0, Unset{}),
        target(network.width() * width, Unset{}),
        joint{{n_joint * width, Unset{}}, {n_joint * width, Unset{}}},
        layer{{network.width() * width, Unset{}}, {network.width() * width, Unset{}}},
        row(width),
        factor(width),
        divergence(width),
        whole(width),
        ranking(width),
        n_rows(width),
        wanted{has_missing ? seen.data() : input.data(), has_missing},
        low_precision(low_precision_) {
    if (low_precision) operands = low_precision->operands(width);
    if (distances) measured = typename Distances<T>::Work(*distances, width);
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
  Buffer<T> whole;       // the sums of the terms that explain calibrated scores
  Ranking<T> ranking;
  typename Distances<T>::Work measured;
  bool explains = false;  // whether the rows are kept for reasons
  Index n_rows;           // of the largest block
  Target<T> wanted;       // the rows as they were read, with NaN for missing values
  T* output = nullptr;    // of the last layer
  Prefetcher prefetcher;
  const LowPrecisionNetwork* low_precision;
  LowPrecisionNetwork::Operands operands;
};

/// Calls f(block, workspace) for each block of rows, on no more threads than there is work for.
template <class T>
template <class F>
void Scorer<T>::each_block(Index n_rows, F&& f) const {
  constexpr double kWorkOfThread = 5e6;  // multiply-adds that outweigh starting a thread
  constexpr double kWorkOfTask = 5e6;    // multiply-adds that outweigh dispatching a task
  const Index n_joint = this->n_joint(), distance_work = distances_ ? distances_->work() : n_joint * n_joint;
  const double row_work = static_cast<double>(network_.work() + distance_work + 8 * network_.n_features());
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

}  // namespace aefast
