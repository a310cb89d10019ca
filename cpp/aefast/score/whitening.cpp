#include "whitening.hpp"

#include <numeric>

namespace aefast {

template <class T>
Whitening<T>::Whitening(Index n_features, Index n_code, const double* centre, const double* matrix, const double* usual,
                        const double* deviation)
    : n_features_(n_features),
      layer_(n_features + n_code, n_features + n_code, Activation<T>{}, n_params_),
      params_(n_params_),
      usual_(2 * n_features) {
  const Index p = layer_.n_in();
  for (Index k = 0; k < p; ++k) {
    const double bias = -std::inner_product(centre, centre + p, matrix + k * p, 0.0);
    params_[layer_.bias().template at<T>(0, k)] = static_cast<T>(bias);
    for (Index i = 0; i < p; ++i) params_[layer_.weights().template at<T>(k, i)] = static_cast<T>(matrix[k * p + i]);
  }
  for (Index j = 0; j < n_features; ++j) {
    usual_[j] = static_cast<T>(usual[j]);
    usual_[n_features + j] = static_cast<T>(1 / deviation[j]);
  }
}

template <class T>
void Whitening<T>::apply(const Block& block, const T* v, T* to) const {
  layer_.forward(block, params_.data(), v, to);
}

template <class T>
void Whitening<T>::add_distances(const Block& block, const T* v, T* scratch, T* totals) const {
  layer_.forward_squares(block, params_.data(), v, scratch, nullptr, totals);
}

template <class T>
void Whitening<T>::squares(const Block& block, const T* z, T* totals) const {
  for (Index lane = 0; lane < block.width; lane += kLanes<T>) {
    Vec<T> total(T(0));
    for (Index at = lane; at < layer_.n_out() * block.width; at += block.width) {
      const Vec<T> element = Vec<T>::load(z + at);
      total = fma(element, element, total);
    }
    total.store(totals + lane);
  }
}

template <class T>
void Whitening<T>::contributions(const Block& block, const T* z, const T* row, T* to) const {
  const Vec<T> least(static_cast<T>(1e-6));  // makes all features equal if the row is the usual one
  const Index n = n_features_ * block.width, n_all = layer_.n_out() * block.width;
  for (Index lane = 0; lane < block.width; lane += kLanes<T>) {
    Vec<T> code(T(0)), away(T(0));
    for (Index at = n + lane; at < n_all; at += block.width) {
      const Vec<T> element = Vec<T>::load(z + at);
      code = fma(element, element, code);
    }
    for (Index at = lane, j = 0; at < n; at += block.width, ++j) {
      const Vec<T> distance = (Vec<T>::load(row + at) - Vec<T>(usual_[j])) * Vec<T>(usual_[j + n_features_]);
      const Vec<T> square = fma(distance, distance, least);
      square.store(to + at);
      away = away + square;
    }
    const Vec<T> factor = code / away;
    for (Index at = lane; at < n; at += block.width) {
      const Vec<T> element = Vec<T>::load(z + at);
      fma(Vec<T>::load(to + at), factor, element * element).store(to + at);
    }
  }
}

template class Whitening<float>;
template class Whitening<double>;

}  // namespace aefast
