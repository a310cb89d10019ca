#include "dense.hpp"

#include "aefast/product/gemm_thin.hpp"

namespace aefast {
namespace {

constexpr Index kTaskRows = 64;  // rows of weights whose gradient one task computes; a panel of them fits into L1

/// Cycles of a gradient per row of the batch, with columns in the lanes: these are padded to whole registers, and one
/// operand is transposed.
template <class T>
Index gradient_cost(Index rows, Index columns) {
  const Index registers = (columns + kLanes<T> - 1) / kLanes<T>;
  return registers * (rows + kLanes<T>) / 2;
}

/// Computes the activations of a block with one row: `n` values, each the first of a register whose rest is not used.
/// They are packed into whole registers, as exponentials and divisions would cost as much as those of all rows.
template <class T>
void activate_row(const Activation<T>& activation, T* z, Index n) {
  alignas(kAlignment) T packed[kPanel<T>];
  for (Index first = 0; first < n; first += kPanel<T>) {
    const Index count = std::min(kPanel<T>, n - first), padded = round_up(count, kLanes<T>);
    T* from = z + first * kLanes<T>;
    for (Index i = 0; i < count; ++i) packed[i] = from[i * kLanes<T>];
    std::fill(packed + count, packed + padded, T(0));
    activation.forward(packed, padded);
    for (Index i = 0; i < count; ++i) from[i * kLanes<T>] = packed[i];
  }
}

/// True if W should be stored input by input.
template <class T>
bool better_flipped(Index n_in, Index n_out) {
  return gradient_cost<T>(n_in, n_out) < gradient_cost<T>(n_out, n_in);
}

}  // namespace

template <class T>
Dense<T>::Dense(Index n_in, Index n_out, const Activation<T>& activation, Index& offset, Dense* tied_to)
    : Layer<T>(n_in, n_out), activation_(activation), weights_(), bias_(), tied_to_(tied_to) {
  if (tied_to) {
    weights_ = tied_to->weights_;
    tied_to->tied_by_ = this;
  } else {
    weights_ = {offset, n_out, n_in, true, better_flipped<T>(n_in, n_out)};
    offset += weights_.template size<T>();
  }
  bias_ = {offset, 1, n_out, false};
  offset += bias_.template size<T>();
}

template <class T>
std::unique_ptr<Layer<T>> Dense<T>::make(const LayerSpec& spec, const LayerContext<T>& context) {
  const Index units = spec.count("units"), tied_to = spec.count("tied_to", -1);
  if (units < 1) throw std::invalid_argument("a dense layer needs units");
  check_size("a dense layer", {context.n_in, units});
  Dense* owner = nullptr;
  if (tied_to >= 0) {
    owner = dynamic_cast<Dense*>(context.described.at(static_cast<std::size_t>(tied_to)));
    if (!owner || owner->is_tied()) throw std::invalid_argument("a layer ties to one without weights of its own");
    if (owner->n_in() != units || owner->n_out() != context.n_in) {
      throw std::invalid_argument("tied layers must mirror each other");
    }
  }
  return std::make_unique<Dense>(context.n_in, units, context.activation, context.n_parameters, owner);
}

template <class T>
std::vector<Parameter> Dense<T>::parameters() const {
  if (tied_to_) return {bias_};
  return {weights_, bias_};
}

template <class T>
template <class Finish, class End>
void Dense<T>::product(bool transposed, const Block& block, const T* params, const T* in, const T* bias, T* out,
                       const Finish& finish, const End& end) const {
  const Features wanted = block.own_features<T>(transposed ? weights_.n_inputs : weights_.n_outputs);
  multiply_weights(transposed, weights_, params, block.width, in, bias, out, wanted, finish, end, block.prefetcher);
}

template <class T>
void Dense<T>::forward(const Block& block, const T* params, const T* in, T* out) const {
  const T* bias = params + bias_.offset;
  if (activation_.is_relu) return product(is_tied(), block, params, in, bias, out, Nothing{}, StoreRelu{});
  if (activation_.forward && block.n_rows > 1) {
    return product(is_tied(), block, params, in, bias, out, [this](T* z, Index n) { activation_.forward(z, n); });
  }
  product(is_tied(), block, params, in, bias, out, Nothing{});
  if (!activation_.forward) return;
  const Features own = block.own_features<T>(this->n_out());
  activate_row(activation_, out + own.first * block.width, own.last - own.first);
}

template <class T>
bool Dense<T>::forward_squares(const Block& block, const T* params, const T* in, T* out, const T* target,
                               T* totals) const {
  if (activation_.forward) return false;
  product(is_tied(), block, params, in, params + bias_.offset, out, Nothing{}, AddSquares<T>{out, target, totals});
  return true;
}

template <class T>
void Dense<T>::forward_to(const Block& block, const T* params, const T* in, T* out,
                          const OnOutputs<T>& on_outputs) const {
  product(is_tied(), block, params, in, params + bias_.offset, out, [&](T* z, Index n) {
    if (activation_.forward) activation_.forward(z, n);
    on_outputs(z, z - out, n);
  });
}

template <class T>
void Dense<T>::prepare(Index max_rows, const T* in, const T* delta_out) {
  in_ = in;
  delta_ = delta_out;
  panels_ = Panels<T>(inputs_are_columns() ? this->n_in() : this->n_out(), max_rows);
  if (activation_.keeps_slopes()) slopes_.reset(this->n_out() * round_up(max_rows, kLanes<T>));
}

/// True if `multiply_thin` computes the gradient of a chunk faster; the numbers are measured cycles.
template <class T>
bool Dense<T>::is_thin_product(Index n_rows) const {
  const Index rows = weights_.n_rows(), columns = weights_.n_columns(),
              padded = round_up(rows, 4) * round_up(columns, 4);
  const Index registers = (n_rows + kLanes<T> - 1) / kLanes<T>;
  return padded * (7 * registers + 20) / 10 < n_rows * gradient_cost<T>(rows, columns);
}

template <class T>
void Dense<T>::remember_inputs(const Block& block, const T* in, const Step<T>& step) {
  if (inputs_are_columns() && !is_thin_product(step.chunk)) panels_.from_block(block, block.first_row, in);
}

template <class T>
void Dense<T>::forward_slopes(const Block& block, const T* params, const T* in, const T* target, const T* row_scale,
                              T* losses, Index stride, T* delta_out, const Step<T>& step) {
  remember_inputs(block, in, step);
  const Features own = block.own_features<T>(this->n_out());
  for (Index first = own.first; first < own.last; first += kPanel<T>) {
    T* totals = losses + first / kPanel<T> * stride;
    std::fill_n(totals, block.width, T(0));
    multiply_weights(is_tied(), weights_, params, block.width, in, params + bias_.offset, delta_out,
                     {first, std::min(first + kPanel<T>, own.last)}, Nothing{},
                     StoreSlopes<T>{delta_out, target, row_scale, totals});
  }
}

template <class T>
void Dense<T>::forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>& step) {
  remember_inputs(block, in, step);
  if (!activation_.keeps_slopes()) return forward(block, params, in, out);
  product(is_tied(), block, params, in, params + bias_.offset, out, [&](T* z, Index n) {
    activation_.forward_keep(z, slopes_.data() + this->n_out() * block.first_row + (z - out), n);
  });
}

/// Multiplies `n` elements of delta_out, from element `at` of a block on, by the activation's derivative.
template <class T>
void Dense<T>::apply_slope(const Block& block, const T* out, Index at, T* delta_out, Index n) const {
  if (!activation_.backward) return;
  const T* kept = activation_.keeps_slopes() ? slopes_.data() + this->n_out() * block.first_row : out;
  activation_.backward(delta_out, kept + at, n);
}

template <class T>
void Dense<T>::backward(const Block& block, const T* params, const T* in, const T* out, T* delta_out, T* delta_in,
                        const Step<T>& step) {
  const Index n = this->n_out();
  if (!gives_slope_) apply_slope(block, out, 0, delta_out, n * block.width);
  if (extra_) {
    const T* extra = extra_ + n * block.first_row;
    map(delta_out, n * block.width, [](const Vec<T>& d, const Vec<T>& e) { return d + e; }, delta_out, extra);
  }
  if (!inputs_are_columns() && !is_thin_product(step.chunk)) panels_.from_block(block, block.first_row, delta_out);
  if (!delta_in) return;
  if (below_ && below_->activation_.is_relu) {
    const StoreWherePositive<T> end{delta_in, in};
    return product(!is_tied(), block, params, delta_out, nullptr, delta_in, Nothing{}, end);
  }
  product(!is_tied(), block, params, delta_out, nullptr, delta_in, [&](T* delta, Index count) {
    if (below_) below_->apply_slope(block, in, delta - delta_in, delta, count);
  });
}

/// One task for the biases, and one for every kTaskRows rows of each panel of weights.
template <class T>
Index Dense<T>::n_gradient_tasks() const {
  if (tied_to_) return 1;
  return 1 + panels_.count() * ((weights_.n_rows() + kTaskRows - 1) / kTaskRows);
}

template <class T>
void Dense<T>::gradient(Index task, std::span<const Block> blocks, const Slice& slice, T* gradient,
                        const OnGradient& on_gradient) const {
  if (task == 0) {
    slice.each_chunk(blocks, [&](auto chunk, bool accumulate) { bias_gradient(chunk, accumulate, gradient); });
    return on_gradient(bias_.offset, bias_.template size<T>(), false);
  }
  const Index panel = (task - 1) % panels_.count(), width = panels_.width(panel);
  const Index first = (task - 1) / panels_.count() * kTaskRows;
  const Index count = std::min(weights_.n_rows() - first, kTaskRows);
  const Index offset = weights_.template panel<T>(panel * kPanel<T>) + first * width;
  const bool is_thin = is_thin_product(slice.chunk);
  ProductList<T> rows((tied_by_ ? 2 : 1) * static_cast<Index>(blocks.size()));
  slice.each_chunk(blocks, [&](std::span<const Block> chunk, bool accumulate) {
    rows.clear();
    for (const Dense* each : {this, static_cast<const Dense*>(tied_by_)}) {
      if (each) each->add_rows(chunk, first, panel, is_thin, rows);
    }
    if (is_thin) {
      const Index columns = std::min(kPanel<T>, weights_.n_columns() - panel * kPanel<T>);
      multiply_thin<T>(count, columns, rows.all(), gradient + offset, width, accumulate);
    } else {
      multiply<T>(count, width, rows.all(), nullptr, gradient + offset, {}, accumulate);
    }
  });
  on_gradient(offset, count * width, true);
}

/// Adds this layer's products, one per block, to those that make up the gradient of the stored weights from row
/// `first_row` on.
template <class T>
void Dense<T>::add_rows(std::span<const Block> blocks, Index first_row, Index panel, bool is_thin,
                        ProductList<T>& products) const {
  const T *left = in_, *right = delta_;
  Index n_left = this->n_in(), n_right = this->n_out();
  if (inputs_are_columns()) std::swap(left, right), std::swap(n_left, n_right);
  const Index n_rows = blocks.back().first_row + blocks.back().n_rows - blocks.front().first_row;
  const bool is_far = n_left * n_rows * static_cast<Index>(sizeof(T)) >= kNearBytes;
  for (const Block& block : blocks) {
    const T* columns = is_thin ? right + n_right * block.first_row + panel * kPanel<T> * block.width
                               : panels_.at(panel, block.first_row);
    products.add(
        {left + n_left * block.first_row + first_row * block.width, columns, block.n_rows, block.width, 1, is_far});
  }
}

/// Sums rows lane by lane, then across lanes, for as many outputs at once as there are lanes.
template <class T>
void Dense<T>::bias_gradient(std::span<const Block> blocks, bool accumulate, T* gradient) const {
  const Index n = this->n_out();
  for (Index first = 0; first < n; first += kLanes<T>) {
    const Index count = std::min(kLanes<T>, n - first);
    Vec<T> lanes[kLanes<T>];
    for (Index i = 0; i < kLanes<T>; ++i) lanes[i] = Vec<T>(T(0));
    for (const Block& block : blocks) {
      const T* delta = delta_ + n * block.first_row + first * block.width;
      const Index whole = block.n_rows / kLanes<T> * kLanes<T>, rest = block.n_rows - whole;
      for (Index i = 0; i < count; ++i, delta += block.width) {
        Vec<T> lane = lanes[i];
        for (Index row = 0; row < whole; row += kLanes<T>) lane = lane + Vec<T>::load(delta + row);
        if (rest > 0) lane = lane + load_first(delta + whole, rest);
        lanes[i] = lane;
      }
    }
    T* to = gradient + bias_.offset + first;
    const Vec<T> sums = sums_across(lanes);
    (accumulate ? Vec<T>::load(to) + sums : sums).store(to);
  }
}

template class Dense<float>;
template class Dense<double>;

}  // namespace aefast
