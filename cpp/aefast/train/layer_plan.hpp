/// The plan for few rows and large layers: threads share the outputs of each layer, with a barrier between layers. By
/// rows, each thread would have a single register of each feature, which makes slow products.
#pragma once

#include "step_plan.hpp"

namespace aefast {

template <class T>
class LayerPlan final : public StepPlan<T> {
 public:
  explicit LayerPlan(BlockPass<T>& pass) : StepPlan<T>(pass), is_possible_(takes(pass)) {}

  /// True if the plan can run the slice and is faster than by rows.
  bool fits(Index n_rows, const EpochSpec& epoch) const {
    constexpr Index kWorkOfLayer = 300'000;  // multiply-adds of a layer that outweigh a barrier
    const Index n_threads = this->pass_.work.team.n_active();
    const Index work_of_layer = this->pass_.network.work() * n_rows / this->pass_.n_layers();
    return is_possible_ && !this->pass_.has_own_target(epoch) && n_threads > 1 && n_rows > kLanes<T> &&
           n_rows <= kLanes<T> * n_threads && work_of_layer >= kWorkOfLayer;
  }

  Index block_width(Index n_rows) const override { return this->even_width(n_rows, 1); }

  void run(const SliceRows<T>& slice, const OnGradient& on_gradient) override {
    BlockPass<T>& pass = this->pass_;
    StepWorkspace<T>& work = pass.work;
    const EpochSpec& epoch = slice.epoch;
    each_part([&](const Block& block) {
      if (epoch.scaling->has_levels()) {  // these are not read in parts
        if (block.worker == 0) read_block(epoch.input, *epoch.scaling, slice.rows, block, work.values(0, block));
        return;
      }
      const Features share = block.own_features<T>(pass.network.n_features());
      T* to = work.values(0, block) + share.first * block.width;
      if (share.count() > 0) {
        read_block(epoch.input.part(share), *epoch.scaling, slice.rows, block, to, share.first);
      }
    });
    const bool is_fused = pass.objective.is_fused(epoch);
    const Index n_layers = pass.n_layers();
    for (Index i = 0; i < n_layers; ++i) {
      each_part([&](const Block& block) {
        if (is_fused && i + 1 == n_layers) pass.forward_fused(work.values(0, block), slice, block);
        else pass.forward(i, i + 1, slice, block);
      });
    }
    if (is_fused) {
      for (const Block& block : work.blocks) pass.finish_losses(slice, block);
    } else {
      work.team.run(static_cast<Index>(work.blocks.size()), [&](Index i, int thread) {
        pass.forward_to_loss(n_layers, slice, work.blocks[static_cast<std::size_t>(i)], thread);
      });
    }
    for (Index last = n_layers, first; last > 0; last = first) {
      first = last > 2 ? last - 1 : 0;  // no thread waits for the gradient by the input
      each_part([&](const Block& block) { pass.backward(first, last, slice, block); });
    }
    pass.sum_gradients(slice, on_gradient);
  }

 private:
  /// True if all layers are dense, the last one is linear, and nothing is computed between layers.
  static bool takes(const BlockPass<T>& pass) {
    bool is_dense = true;
    for (Index i = 0; i < pass.n_layers(); ++i) is_dense = is_dense && dynamic_cast<Dense<T>*>(&pass.layer(i));
    const bool has_penalty_between = pass.objective.code_penalty && pass.network.n_encoder() < pass.n_layers();
    if (!is_dense || has_penalty_between || pass.objective.contraction) return false;
    return !dynamic_cast<Dense<T>&>(pass.layer(pass.n_layers() - 1)).activation().forward;
  }

  /// Calls f(a thread's part of a block) for all parts of all blocks.
  template <class F>
  void each_part(F&& f) {
    StepWorkspace<T>& work = this->pass_.work;
    const Index n_parts = work.team.n_active();
    work.team.run(static_cast<Index>(work.blocks.size()) * n_parts, [&](Index i, int) {
      Block block = work.blocks[static_cast<std::size_t>(i / n_parts)];
      block.worker = i % n_parts;
      block.n_workers = n_parts;
      f(block);
    });
  }

  bool is_possible_;
};

}  // namespace aefast
