#include "contraction.hpp"

#include <utility>

namespace aefast {
namespace {

/// target[o, i] += sum over rows of left[o] right[i], for blocks of features `left` and rows `right`.
template <class T>
void add_outer(const Parameter& at, const Block& block, const T* left, const Panels<T>& right, T* target) {
  for (Index strip = 0; strip < right.count(); ++strip) {
    Product<T> rows{left, right.at(strip, 0), block.n_rows, block.width, 1};
    T* c = target + at.at<T>(0, strip * kPanel<T>);
    multiply<T>(at.n_outputs, right.width(strip), {&rows, 1}, nullptr, c, {}, true);
  }
}

template <class T>
Vec<T> load(const T* from) {
  return Vec<T>::load(from);
}

}  // namespace

/// The buffers of one thread: for each layer its slopes, f'', the gradient by the slopes, and c, t and their gradients.
template <class T>
struct Contraction<T>::Workspace {
  struct OfLayer {
    Buffer<T> slope, curvature, slope_gradient, c, t, dt;
    Panels<T> rows;
  };

  explicit Workspace(const std::vector<Dense<T>*>& encoder) {
    for (const Dense<T>* each : encoder) {
      const Index n = each->n_out(), size = n * kPanel<T>;
      layers.push_back({Buffer<T>(size), Buffer<T>(size), Buffer<T>(size), Buffer<T>(size), Buffer<T>(size),
                        Buffer<T>(size), Panels<T>(n, kPanel<T>)});
    }
    product.reset(encoder.front()->n_out() * kPanel<T>);
  }

  OfLayer& operator[](Index l) { return layers[static_cast<std::size_t>(l)]; }

  std::vector<OfLayer> layers;
  Buffer<T> product;
};

template <class T>
Contraction<T>::Contraction(std::vector<Dense<T>*> encoder, double weight)
    : encoder_(std::move(encoder)), weight_(static_cast<T>(weight)), gram_at_() {
  // A block's partial result: the gradient by G, then those by the weights of all layers but the first.
  const Index n_first = encoder_.front()->n_out();
  gram_at_ = {0, n_first, n_first, true};
  n_partial_ = gram_at_.template size<T>();
  for (const Dense<T>* each : encoder_) {
    weights_.push_back({n_partial_, each->n_out(), each->n_in(), true});
    if (each != encoder_.front()) n_partial_ += weights_.back().template size<T>();
  }
  weights_.front().offset = n_partial_;
  params_.reset(n_partial_ + weights_.front().template size<T>());
}

template <class T>
Contraction<T>::~Contraction() = default;

template <class T>
void Contraction<T>::prepare(Index max_rows, Index n_parameters, int n_threads) {
  const Index n_blocks = (max_rows + kPanel<T> - 1) / kPanel<T>;
  gram_.reset(gram_at_.template size<T>());
  partials_.reset(n_blocks * n_partial_);
  gradient_.reset(n_parameters);
  extras_.clear();
  for (Dense<T>* each : encoder_) {
    extras_.emplace_back(each->n_out() * round_up(max_rows, kLanes<T>));
    each->add_to_backward(extras_.back().data());
  }
  workspaces_.clear();
  for (int i = 0; i < n_threads; ++i) workspaces_.push_back(std::make_unique<Workspace>(encoder_));
}

template <class T>
void Contraction<T>::begin_batch(const T* params) {
  for (Index l = 0; l < n_layers(); ++l) {
    for (Index o = 0; o < weights(l).n_outputs; ++o) {
      for (Index i = 0; i < weights(l).n_inputs; ++i) {
        params_[weights(l).template at<T>(o, i)] = params[layer(l).weights().template at<T>(o, i)];
      }
    }
  }
  const Index n = weights(0).n_outputs;
  Buffer<T> transposed(weights(0).n_inputs * kPanel<T>);
  for (Index first = 0; first < n; first += kPanel<T>) {
    const Index width = gram_at_.template panel_width<T>(first), count = std::min(kPanel<T>, n - first);
    std::fill_n(transposed.data(), transposed.size(), T(0));
    for (Index i = 0; i < weights(0).n_inputs; ++i) {
      for (Index o = 0; o < count; ++o) transposed[i * width + o] = params_[weights(0).template at<T>(first + o, i)];
    }
    multiply_weights(false, weights(0), params_.data(), width, transposed.data(), static_cast<const T*>(nullptr),
                     gram_.data() + gram_at_.template panel<T>(first));
  }
}

template <class T>
void Contraction<T>::pass_block(const Block& block, const T* params, std::span<const T* const> values,
                                const T* row_weight, T* row_loss, int thread) {
  Workspace& work = *workspaces_[static_cast<std::size_t>(thread)];
  const Index width = block.width;
  for (Index l = 0; l < n_layers(); ++l) {
    const Index size = layer(l).n_out() * width;
    T* z = work[l].t.data();
    multiply_weights(false, layer(l).weights(), params, width, values[static_cast<std::size_t>(l)],
                     params + layer(l).bias().offset, z);
    layer(l).activation().derivatives(z, work[l].slope.data(), work[l].curvature.data(), size);
    std::fill_n(work[l].slope_gradient.data(), size, T(0));
  }
  std::fill_n(partial(block), n_partial_, T(0));
  if (n_layers() == 1) {
    pass_single_layer(block, row_weight, row_loss, work);
  } else {
    for (Index unit = 0; unit < layer(n_layers() - 1).n_out(); ++unit) {
      pass_unit(unit, block, row_weight, row_loss, work);
    }
  }
  for (Index l = 0; l < n_layers(); ++l) {
    const Index size = layer(l).n_out() * width;
    map(
        extra(l).data() + layer(l).n_out() * block.first_row, size,
        [](const Vec<T>& ds, const Vec<T>& second) { return ds * second; }, work[l].slope_gradient.data(),
        work[l].curvature.data());
  }
}

/// One layer: the squared norm of row j is s_j^2 G_jj (Rifai et al. 2011, section 3.2).
template <class T>
void Contraction<T>::pass_single_layer(const Block& block, const T* row_weight, T* row_loss, Workspace& work) {
  for (Index j = 0; j < layer(0).n_out(); ++j) {
    const Vec<T> norm(gram_[gram_at_.template at<T>(j, j)]), weight(weight_), two(T(2));
    T by_norm = 0;
    for (Index lane = 0; lane < block.width; lane += kLanes<T>) {
      const Index at = j * block.width + lane;
      const Vec<T> s = load(work[0].slope.data() + at), rows = weight * load(row_weight + lane);
      fma(weight * norm, s * s, load(row_loss + lane)).store(row_loss + lane);
      (two * rows * norm * s).store(work[0].slope_gradient.data() + at);
      by_norm += sum(rows * s * s);
    }
    partial(block)[gram_at_.template at<T>(j, j)] = by_norm;
  }
}

template <class T>
void Contraction<T>::pass_unit(Index unit, const Block& block, const T* row_weight, T* row_loss, Workspace& work) {
  const T* params = params_.data();
  const Index width = block.width, last = n_layers() - 1;
  const auto size = [&](Index l) { return layer(l).n_out() * width; };
  const T* top_slope = work[last].slope.data() + unit * width;
  const Parameter& top = weights(last);

  // Down: c and t of every layer below the code layer.
  for (Index i = 0; i < top.n_inputs; ++i) {
    const Vec<T> w(params[top.template at<T>(unit, i)]);
    map(work[last - 1].c.data() + i * width, width, [&](const Vec<T>& s) { return w * s; }, top_slope);
  }
  for (Index l = last - 1; l >= 0; --l) {
    if (l < last - 1) {
      multiply_weights(true, weights(l + 1), params, width, work[l + 1].t.data(), static_cast<const T*>(nullptr),
                       work[l].c.data());
    }
    map(
        work[l].t.data(), size(l), [](const Vec<T>& s, const Vec<T>& c) { return s * c; }, work[l].slope.data(),
        work[l].c.data());
  }

  // The penalty t^T G t and its gradients: 2 G t by t, and t t^T by G.
  T* product = work.product.data();
  multiply_weights(false, gram_at_, gram_.data(), width, work[0].t.data(), static_cast<const T*>(nullptr), product);
  const Vec<T> weight(weight_), two(T(2));
  for (Index lane = 0; lane < width; lane += kLanes<T>) {
    Vec<T> norm(T(0));
    const Vec<T> rows = weight * load(row_weight + lane);
    for (Index at = lane; at < size(0); at += width) {
      const Vec<T> t = load(work[0].t.data() + at), g = load(product + at);
      norm = fma(t, g, norm);
      (two * rows * g).store(work[0].dt.data() + at);
      (rows * t).store(product + at);
    }
    fma(weight, norm, load(row_loss + lane)).store(row_loss + lane);
  }
  work[0].rows.from_block(block, 0, product);
  add_outer(gram_at_, block, work[0].t.data(), work[0].rows, partial(block));

  // Up again: from the gradient by t to the gradients by the slopes, by c (which replaces dt), and by the weights.
  for (Index l = 0; l < last; ++l) {
    T* dt = work[l].dt.data();
    T* slope_gradient = work[l].slope_gradient.data();
    map(
        slope_gradient, size(l), [](const Vec<T>& ds, const Vec<T>& c, const Vec<T>& d) { return fma(c, d, ds); },
        slope_gradient, work[l].c.data(), dt);
    map(dt, size(l), [](const Vec<T>& s, const Vec<T>& d) { return s * d; }, work[l].slope.data(), dt);
    if (l + 1 == last) break;
    multiply_weights(false, weights(l + 1), params, width, dt, static_cast<const T*>(nullptr), work[l + 1].dt.data());
    work[l].rows.from_block(block, 0, dt);
    add_outer(weights(l + 1), block, work[l + 1].t.data(), work[l].rows, partial(block));
  }
  const T* dc = work[last - 1].dt.data();
  T* top_slope_gradient = work[last].slope_gradient.data() + unit * width;
  for (Index i = 0; i < top.n_inputs; ++i) {
    const Vec<T> w(params[top.template at<T>(unit, i)]);
    Vec<T> by_weight(T(0));
    for (Index lane = 0; lane < width; lane += kLanes<T>) {
      const Vec<T> d = load(dc + i * width + lane);
      fma(w, d, load(top_slope_gradient + lane)).store(top_slope_gradient + lane);
      by_weight = fma(load(top_slope + lane), d, by_weight);
    }
    partial(block)[top.template at<T>(unit, i)] += sum(by_weight);
  }
}

template <class T>
const T* Contraction<T>::gradient(std::span<const Block> blocks) {
  T* total = partials_.data();
  for (const Block& block : blocks.subspan(1)) {
    map(total, n_partial_, [](const Vec<T>& a, const Vec<T>& b) { return a + b; }, total, partial(block));
  }
  // G = W W^T and the gradient D by G is symmetric, so the gradient by W is 2 D W.
  map(total, gram_at_.template size<T>(), [](const Vec<T>& d) { return d + d; }, total);
  const Parameter& first_weights = weights(0);
  Buffer<T> product(params_.size());
  for (Index first = 0; first < first_weights.n_inputs; first += kPanel<T>) {
    const Index width = first_weights.template panel_width<T>(first), at = first_weights.template panel<T>(first);
    multiply_weights(false, gram_at_, total, width, params_.data() + at, static_cast<const T*>(nullptr),
                     product.data() + at);
  }
  for (Index l = 0; l < n_layers(); ++l) {
    const T* from = l == 0 ? product.data() : total;
    for (Index o = 0; o < weights(l).n_outputs; ++o) {
      for (Index i = 0; i < weights(l).n_inputs; ++i) {
        gradient_[layer(l).weights().template at<T>(o, i)] = from[weights(l).template at<T>(o, i)];
      }
    }
  }
  return gradient_.data();
}

template class Contraction<float>;
template class Contraction<double>;

}  // namespace aefast
