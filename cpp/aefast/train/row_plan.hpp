/// The plan for most steps: each thread takes whole blocks of rows forward to the loss and back, then all threads share
/// the gradients of the parameters. Two barriers a step.
#pragma once

#include "step_plan.hpp"

namespace aefast {

template <class T>
class RowPlan final : public StepPlan<T> {
 public:
  using StepPlan<T>::StepPlan;

  Index block_width(Index n_rows) const override { return this->even_width(n_rows, this->pass_.work.team.n_active()); }

  void run(const SliceRows<T>& slice, const OnGradient& on_gradient) override {
    const std::vector<Block>& blocks = this->pass_.work.blocks;
    this->pass_.work.team.run(static_cast<Index>(blocks.size()), [&](Index i, int thread) {
      this->pass_.run(slice, blocks[static_cast<std::size_t>(i)], thread);
    });
    this->pass_.sum_gradients(slice, on_gradient);
  }
};

}  // namespace aefast
