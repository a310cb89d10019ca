#include "workspace.hpp"

#include <numeric>

namespace aefast {

template <class T>
bool StepWorkspace<T>::prepare(const Network<T>& network, Index max_rows, bool has_own_target, Index n_chunks) {
  const Index padded = round_up(max_rows, kLanes<T>);
  if (has_own_target) target.reserve(network.n_features() * padded);
  chunk_gradients.reserve(n_chunks * network.n_parameters());
  if (max_rows <= max_rows_) return false;
  max_rows_ = max_rows;
  values_.clear();
  deltas_.clear();
  for (const Index size : sizes_) {
    values_.emplace_back(size * padded);
    deltas_.emplace_back(size * padded);
  }
  tasks.clear();
  for (Index i = 0; i < static_cast<Index>(network.layers().size()); ++i) {
    Layer<T>& layer = *network.layers()[static_cast<std::size_t>(i)];
    layer.prepare(max_rows, values(i), deltas(i + 1));
    for (Index task = 0; task < layer.n_gradient_tasks(); ++task) tasks.push_back({i, task});
  }
  for (Buffer<T>* each : {&row_weight, &row_scale, &row_factor, &row_loss, &row_penalty}) each->reset(padded);
  panel_loss.reset((network.n_features() + kPanel<T> - 1) / kPanel<T> * padded);
  n_rows_weighed = 0;
  return true;
}

template <class T>
void StepWorkspace<T>::set_blocks(Index n_rows, Index width, bool has_row_penalties) {
  if (has_row_penalties) std::fill_n(row_penalty.data(), round_up(n_rows, kLanes<T>), T(0));
  if (!blocks.empty() && n_rows == n_rows_cut_ && width == blocks.front().width) return;
  n_rows_cut_ = n_rows;
  blocks.clear();
  for (Index i = 0; i * width < n_rows; ++i) blocks.push_back(block_of<T>(i, n_rows, width));
}

template <class T>
Index StepWorkspace<T>::row_size() const {
  return 2 * std::accumulate(sizes_.begin(), sizes_.end(), Index{0});
}

template class StepWorkspace<float>;
template class StepWorkspace<double>;

}  // namespace aefast
