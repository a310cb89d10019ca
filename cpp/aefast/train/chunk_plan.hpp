/// The plan for large batches of networks with few parameters: each thread takes whole chunks of rows forward, back and
/// into gradients of their own while they are in its cache. After the batch's last slice these gradients are added:
/// threads exchange gradients instead of rows.
#pragma once

#include "step_plan.hpp"

namespace aefast {

template <class T>
class ChunkPlan final : public StepPlan<T> {
 public:
  static constexpr Index kMostBytes = 128 << 10;  // of a gradient that is cheaper to exchange than rows are
  static constexpr Index kChunks = 8;             // of a slice; the last slice has up to twice as many

  explicit ChunkPlan(BlockPass<T>& pass) : StepPlan<T>(pass) {
    constexpr Index kMost = 2048;
    for (const Parameter& parameter : pass.network.parameters()) {
      const Index size = parameter.template size<T>();
      for (Index at = 0; at < size; at += kMost) {
        ranges_.push_back({parameter.offset + at, std::min(kMost, size - at), parameter.penalised});
      }
    }
  }

  Index block_width(Index) const override { return kPanel<T>; }

  void run(const SliceRows<T>& slice, const OnGradient& on_gradient) override {
    StepWorkspace<T>& work = this->pass_.work;
    const Index n_blocks = static_cast<Index>(work.blocks.size()), size = slice.slice.chunk / kPanel<T>;
    const Index n_chunks = (n_blocks + size - 1) / size;
    work.team.run(n_chunks, [&](Index i, int thread) {
      const auto chunk = std::span<const Block>(work.blocks)
                             .subspan(static_cast<std::size_t>(i * size),
                                      static_cast<std::size_t>(std::min(size, n_blocks - i * size)));
      run_chunk(slice, chunk, i, thread);
    });
    const bool is_last = slice.slice.first_row + slice.n_rows >= slice.slice.n_batch;
    if (is_last) add_gradients(n_chunks, on_gradient);
  }

 private:
  /// Part of the flat gradient that one thread adds up.
  struct Range {
    Index offset;
    Index count;
    bool is_weight;
  };

  void run_chunk(const SliceRows<T>& slice, std::span<const Block> chunk, Index i, int thread) {
    static const OnGradient kNotFinished = [](Index, Index, bool) {};
    BlockPass<T>& pass = this->pass_;
    for (const Block& block : chunk) pass.run(slice, block, thread);
    const Slice own{i < kChunks ? slice.slice.first_row : 0, slice.slice.n_batch, slice.slice.chunk};
    T* gradient = pass.work.chunk_gradients.data() + i * pass.network.n_parameters();
    for (const auto& task : pass.work.tasks) {
      pass.layer(task.layer).gradient(task.index, chunk, own, gradient, kNotFinished);
    }
  }

  void add_gradients(Index n_chunks, const OnGradient& on_gradient) {
    constexpr Index kParametersOfOne = 4096;  // that one thread adds up before others are awake
    BlockPass<T>& pass = this->pass_;
    const Index n_parameters = pass.network.n_parameters(), n_ranges = static_cast<Index>(ranges_.size());
    const auto add = [&](Index i, int) {
      const Range& range = ranges_[static_cast<std::size_t>(i)];
      T* total = pass.gradient.data() + range.offset;
      const T* each = pass.work.chunk_gradients.data() + range.offset;
      for (Index at = 0; at < range.count; at += kLanes<T>) {
        Vec<T> sum = Vec<T>::load(each + at);
        for (Index chunk = 1; chunk < n_chunks; ++chunk) sum = sum + Vec<T>::load(each + chunk * n_parameters + at);
        sum.store(total + at);
      }
      on_gradient(range.offset, range.count, range.is_weight);
    };
    if (n_parameters > kParametersOfOne) return pass.work.team.run(n_ranges, add);
    for (Index i = 0; i < n_ranges; ++i) add(i, 0);
  }

  std::vector<Range> ranges_;
};

}  // namespace aefast
