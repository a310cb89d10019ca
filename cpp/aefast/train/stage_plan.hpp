/// The plan for networks with batchwise layers, which need all rows at once: threads take blocks of rows through the
/// layers up to the next batchwise one, then share the features of that one.
#pragma once

#include "step_plan.hpp"

namespace aefast {

template <class T>
class StagePlan final : public StepPlan<T> {
 public:
  explicit StagePlan(BlockPass<T>& pass) : StepPlan<T>(pass) {
    Index first = 0;
    for (Index i = 0; i < pass.n_layers(); ++i) {
      if (pass.layer(i).n_batch_tasks() == 0) continue;
      stages_.push_back({first, i});
      first = i + 1;
    }
    stages_.push_back({first, pass.n_layers()});
  }

  bool is_needed() const { return stages_.size() > 1; }

  Index block_width(Index n_rows) const override { return this->even_width(n_rows, this->pass_.work.team.n_active()); }

  void run(const SliceRows<T>& slice, const OnGradient& on_gradient) override {
    BlockPass<T>& pass = this->pass_;
    StepWorkspace<T>& work = pass.work;
    const std::size_t n_stages = stages_.size();
    for (std::size_t i = 0; i + 1 < n_stages; ++i) {
      each_block([&](const Block& block, int) {
        if (i == 0) pass.read(slice, block);
        pass.forward(stages_[i].first, stages_[i].last, slice, block);
      });
      const Index at = stages_[i].last;
      work.team.run(pass.layer(at).n_batch_tasks(), [&](Index task, int) {
        pass.layer(at).forward_batch(task, work.blocks, pass.params.data(), work.values(at), work.values(at + 1));
      });
    }
    each_block([&](const Block& block, int thread) {
      pass.forward_to_loss(stages_.back().first, slice, block, thread);
      pass.backward(stages_.back().first, stages_.back().last, slice, block);
    });
    for (std::size_t i = n_stages - 1; i-- > 0;) {
      const Index at = stages_[i].last;
      work.team.run(pass.layer(at).n_batch_tasks(), [&](Index task, int) {
        pass.layer(at).backward_batch(task, work.blocks, pass.params.data(), work.values(at), work.deltas(at + 1),
                                      work.deltas(at), pass.gradient.data());
      });
      each_block([&](const Block& block, int) { pass.backward(stages_[i].first, stages_[i].last, slice, block); });
    }
    pass.sum_gradients(slice, on_gradient);
  }

 private:
  /// Layers [first, last) that take rows one by one; a batchwise layer follows each stage but the last.
  struct Stage {
    Index first;
    Index last;
  };

  template <class F>
  void each_block(F&& f) {
    const std::vector<Block>& blocks = this->pass_.work.blocks;
    this->pass_.work.team.run(static_cast<Index>(blocks.size()),
                              [&](Index i, int thread) { f(blocks[static_cast<std::size_t>(i)], thread); });
  }

  std::vector<Stage> stages_;
};

}  // namespace aefast
