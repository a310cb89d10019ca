#include "step_plan.hpp"

#include <numeric>

#include "chunk_plan.hpp"
#include "layer_plan.hpp"
#include "row_plan.hpp"
#include "stage_plan.hpp"

namespace aefast {
namespace {

template <class T>
constexpr Index kChunk = 256 / kPanel<T> * kPanel<T>;
const OnGradient kNotFinished = [](Index, Index, bool) {};  // later slices add to the gradient

/// The sum of the rows' losses, chunk by chunk so that slices do not change it.
template <class T>
void add_losses(const Buffer<T>& row_loss, Index n_rows, Index chunk, double& total) {
  for (Index first = 0; first < n_rows; first += chunk) {
    constexpr Index kSums = 8;  // that do not wait for each other
    double sums[kSums] = {};
    const Index last = std::min(first + chunk, n_rows), whole = last - (last - first) % kSums;
    for (Index at = first; at < whole; at += kSums) {
      for (Index i = 0; i < kSums; ++i) sums[i] += static_cast<double>(row_loss[at + i]);
    }
    for (Index at = whole; at < last; ++at) sums[0] += static_cast<double>(row_loss[at]);
    total += std::accumulate(sums, sums + kSums, 0.0);
  }
}

}  // namespace

template <class T>
struct StepPlans<T>::All {
  explicit All(BlockPass<T>& pass) : rows(pass), stages(pass), layers(pass), chunks(pass) {}

  RowPlan<T> rows;
  StagePlan<T> stages;
  LayerPlan<T> layers;
  ChunkPlan<T> chunks;
};

template <class T>
StepPlans<T>::StepPlans(BlockPass<T>& pass) : pass_(pass), all_(std::make_unique<All>(pass)) {}

template <class T>
StepPlans<T>::~StepPlans() = default;

/// A batch is sliced if no cache near a core holds it. A slice has as many rows as that cache holds, or as weigh twice
/// as much as the gradients that each slice reads and writes, and some for each thread.
template <class T>
Slicing StepPlans<T>::slicing(Index n_rows, const EpochSpec& epoch, int max_threads) const {
  constexpr Index kSize = static_cast<Index>(sizeof(T));
  constexpr Index kFewBytes = 8 << 20;  // of values and their gradients, for which a batch is not sliced
  constexpr Index kRowsOfThread = 128;  // of a slice
  const auto takes_slices = [](const auto& each) { return each->takes_slices(); };
  const bool is_possible = std::ranges::all_of(pass_.network.layers(), takes_slices);
  if (!is_possible || pass_.objective.contraction || epoch.add_noise) return {n_rows, n_rows};
  const Index n_parameters = pass_.network.n_parameters(), row_size = pass_.work.row_size();
  if (n_parameters * kSize <= ChunkPlan<T>::kMostBytes && n_rows >= kChunk<T>) {
    const Index chunk = std::min(kChunk<T>, round_up((n_rows + 1) / 2, kPanel<T>));
    return {ChunkPlan<T>::kChunks * chunk, chunk, true};
  }
  if (n_rows * row_size * kSize <= kFewBytes) return {n_rows, n_rows};
  const Index least = std::max(kNearBytes / kSize, 4 * n_parameters);
  return {round_up(std::max(least / row_size, kRowsOfThread * max_threads), kChunk<T>), kChunk<T>};
}

template <class T>
StepPlan<T>& StepPlans<T>::choose(const Slicing& slicing, Index n_rows, const EpochSpec& epoch) {
  if (slicing.is_by_chunk) return all_->chunks;
  if (all_->stages.is_needed()) return all_->stages;
  if (all_->layers.fits(n_rows, epoch)) return all_->layers;
  return all_->rows;
}

template <class T>
double StepPlans<T>::run_batch(const Slicing& slicing, const EpochSpec& epoch, const RowList& rows, Index first,
                               Index n_rows, std::uint64_t seed, const OnGradient& on_gradient) {
  double total = 0;
  for (Index at = 0, n = 0; at < n_rows; at += n) {
    n = slicing.n_rows_of_slice(n_rows - at);
    StepPlan<T>& plan = choose(slicing, n, epoch);
    Index width = plan.block_width(n);
    while (n > slicing.chunk && slicing.chunk % width != 0) width += kLanes<T>;  // chunks are made of whole blocks
    pass_.work.set_blocks(n, width, pass_.objective.has_row_penalties());
    const Step<T> step{seed,         epoch.epoch, first + at, pass_.work.row_weight.data(), static_cast<T>(epoch.beta),
                       slicing.chunk};
    const SliceRows<T> slice{epoch, rows.from(at), n, {at, n_rows, slicing.chunk}, step};
    pass_.begin_slice(slice);
    plan.run(slice, at + n < n_rows ? kNotFinished : on_gradient);
    add_losses(pass_.work.row_loss, n, slicing.chunk, total);
  }
  return total;
}

template class StepPlans<float>;
template class StepPlans<double>;

}  // namespace aefast
