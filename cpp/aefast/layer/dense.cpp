#include "dense.hpp"

namespace aefast {
namespace {

constexpr Index kTaskOutputs = 64;  // outputs whose gradient one task computes: a strip of them fits L1

}  // namespace

template <class T>
Dense<T>::Dense(Index n_in, Index n_out, const Activation<T>& activation, Index& offset, Dense* tied_to)
    : Layer<T>(n_in, n_out), activation_(activation), weights_(), bias_(), tied_to_(tied_to) {
  if (tied_to) {
    weights_ = tied_to->weights_;
    tied_to->tied_by_ = this;
  } else {
    weights_ = {offset, n_out, n_in, true};
    offset += weights_.template size<T>();
  }
  bias_ = {offset, 1, n_out, false};
  offset += bias_.template size<T>();
}

template <class T>
std::vector<Parameter> Dense<T>::parameters() const {
  if (tied_to_) return {bias_};
  return {weights_, bias_};
}

template <class T>
void Dense<T>::product(bool transposed, const Block& block, const T* params, const T* in, const T* bias, T* out,
                       Activate activate) const {
  if (!activate) return multiply_weights(transposed, weights_, params, block.width, in, bias, out);
  multiply_weights(transposed, weights_, params, block.width, in, bias, out, activate);
}

template <class T>
void Dense<T>::forward(const Block& block, const T* params, const T* in, T* out) const {
  product(tied_to_ != nullptr, block, params, in, params + bias_.offset, out, activation_.forward);
}

template <class T>
void Dense<T>::prepare(Index max_rows, const T* in, const T* delta_out) {
  in_ = in;
  delta_ = delta_out;
  if (tied_to_) delta_strips_ = Strips<T>(this->n_out(), max_rows);
  else if (!given_strips_) input_strips_ = Strips<T>(this->n_in(), max_rows);
  if (activation_.keeps_slopes()) slopes_.reset(this->n_out() * round_up(max_rows, kLanes<T>));
}

template <class T>
void Dense<T>::forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>&) {
  if (!tied_to_ && !given_strips_) input_strips_.from_block(block, block.first_row, in);
  if (!activation_.keeps_slopes()) return forward(block, params, in, out);
  product(tied_to_ != nullptr, block, params, in, params + bias_.offset, out, nullptr);
  const Index n = this->n_out();
  activation_.forward_keep(out, slopes_.data() + n * block.first_row, n * block.width);
}

template <class T>
void Dense<T>::backward(const Block& block, const T* params, const T*, const T* out, T* delta_out, T* delta_in,
                        const Step<T>&) {
  const Index n = this->n_out();
  if (activation_.backward) {
    const T* kept = activation_.keeps_slopes() ? slopes_.data() + n * block.first_row : out;
    activation_.backward(delta_out, kept, n * block.width);
  }
  if (extra_) {
    const T* extra = extra_ + n * block.first_row;
    map(delta_out, n * block.width, [](const Vec<T>& d, const Vec<T>& e) { return d + e; }, delta_out, extra);
  }
  if (tied_to_) delta_strips_.from_block(block, block.first_row, delta_out);
  if (delta_in) product(tied_to_ == nullptr, block, params, delta_out, nullptr, delta_in, nullptr);
}

template <class T>
Index Dense<T>::n_gradient_tasks() const {
  if (tied_to_) return 1;
  const Index chunks = (this->n_out() + kTaskOutputs - 1) / kTaskOutputs;
  return input_strips().count() * chunks;
}

template <class T>
void Dense<T>::gradient(Index task, std::span<const Block> blocks, T* gradient, const Finished& finished) const {
  if (tied_to_) {
    bias_gradient(blocks, 0, this->n_out(), gradient);
    return finished(bias_.offset, bias_.template size<T>(), false);
  }
  const Strips<T>& inputs = input_strips();
  const Index strip = task % inputs.count();
  const Index first = task / inputs.count() * kTaskOutputs;
  const Index last = std::min(this->n_out(), first + kTaskOutputs);

  const Index n_blocks = static_cast<Index>(blocks.size());
  SegmentList<T> rows(tied_by_ ? 2 * n_blocks : n_blocks);
  for (const Block& block : blocks) {
    const T* delta = delta_ + this->n_out() * block.first_row + first * block.width;
    rows.add({delta, inputs.at(strip, block.first_row), block.n_rows, block.width, 1});
  }
  if (tied_by_) {
    for (const Block& block : blocks) {
      const T* code = tied_by_->in_ + this->n_out() * block.first_row + first * block.width;
      rows.add({code, tied_by_->delta_strips_.at(strip, block.first_row), block.n_rows, block.width, 1});
    }
  }
  const Index offset = weights_.template at<T>(first, strip * kPanel<T>);
  multiply<T>(last - first, inputs.width(strip), rows.all(), nullptr, gradient + offset);
  finished(offset, (last - first) * inputs.width(strip), true);

  if (strip == 0) {
    bias_gradient(blocks, first, last, gradient);
    finished(bias_.offset + first, round_up(last - first, kLanes<T>), false);
  }
}

/// Rows are summed lane by lane, then across, then those that fill no register: the same order for any blocks.
template <class T>
void Dense<T>::bias_gradient(std::span<const Block> blocks, Index first, Index last, T* gradient) const {
  for (Index output = first; output < last; ++output) {
    Vec<T> lanes(T(0));
    T rest(0);
    for (const Block& block : blocks) {
      const T* delta = delta_ + this->n_out() * block.first_row + output * block.width;
      const Index whole = block.n_rows / kLanes<T> * kLanes<T>;
      for (Index row = 0; row < whole; row += kLanes<T>) lanes = lanes + Vec<T>::load(delta + row);
      for (Index row = whole; row < block.n_rows; ++row) rest += delta[row];
    }
    gradient[bias_.offset + output] = sum(lanes) + rest;
  }
}

template class Dense<float>;
template class Dense<double>;

}  // namespace aefast
