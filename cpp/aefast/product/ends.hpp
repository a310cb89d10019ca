/// Ends of a product: what happens to the sums of a register tile while they are in registers.
#pragma once

#include "aefast/simd/simd.hpp"

namespace aefast {

/// Stands for an action on finished elements if there is none.
struct Nothing {
  template <class T>
  void operator()(T*, Index) const {}
};

/// Stores the sums.
struct Store {
  template <class T, int kRows, int kVectors>
  void operator()(const Vec<T> (&sum)[kRows][kVectors], T* c) const {
    store(sum, c, [](const Vec<T>& v) { return v; });
  }

 protected:
  template <class T, int kRows, int kVectors, class F>
  [[gnu::always_inline]] static void store(const Vec<T> (&sum)[kRows][kVectors], T* c, F&& f) {
    AEFAST_UNROLL
    for (int i = 0; i < kRows; ++i) {
      AEFAST_UNROLL
      for (int j = 0; j < kVectors; ++j) f(sum[i][j]).store(c + (i * kVectors + j) * kLanes<T>);
    }
  }
};

/// Stores the sums, zeros instead of negative ones.
struct StoreRelu : Store {
  template <class T, int kRows, int kVectors>
  void operator()(const Vec<T> (&sum)[kRows][kVectors], T* c) const {
    store(sum, c, [](const Vec<T>& v) { return max(v, Vec<T>(T(0))); });
  }
};

/// Stores the sums, zeros where `y` is not positive: ReLU's derivative, from its output. `c` (the whole product) and
/// `y` have the same layout.
template <class T>
struct StoreWherePositive {
  const T *c, *y;

  template <int kRows, int kVectors>
  void operator()(const Vec<T> (&sum)[kRows][kVectors], T* tile) const {
    const T* output = y + (tile - c);
    AEFAST_UNROLL
    for (int i = 0; i < kRows; ++i) {
      AEFAST_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        const Index at = (i * kVectors + j) * kLanes<T>;
        mask_and(less(Vec<T>(T(0)), Vec<T>::load(output + at)), sum[i][j]).store(tile + at);
      }
    }
  }
};

/// Adds the squares of sum - target to `totals` (width), and stores nothing. `c` and `target` have the layout of the
/// product; a null target stands for zeros.
template <class T>
struct AddSquares {
  const T *c, *target;
  T* totals;

  template <int kRows, int kVectors>
  void operator()(const Vec<T> (&sum)[kRows][kVectors], const T* tile) const {
    const T* wanted = target ? target + (tile - c) : nullptr;
    AEFAST_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      Vec<T> total = Vec<T>::load(totals + j * kLanes<T>);
      AEFAST_UNROLL
      for (int i = 0; i < kRows; ++i) {
        Vec<T> error = sum[i][j];
        if (wanted) error = error - Vec<T>::load(wanted + (i * kVectors + j) * kLanes<T>);
        total = fma(error, error, total);
      }
      total.store(totals + j * kLanes<T>);
    }
  }
};

/// Adds the squares of sum - target to `totals` (width), and stores their gradient times `scale` (width). `c` and
/// `target` have the layout of the product.
template <class T>
struct StoreSlopes {
  const T *c, *target, *scale;
  T* totals;

  template <int kRows, int kVectors>
  void operator()(const Vec<T> (&sum)[kRows][kVectors], T* tile) const {
    const T* wanted = target + (tile - c);
    AEFAST_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      const Vec<T> factor = Vec<T>::load(scale + j * kLanes<T>);
      Vec<T> total = Vec<T>::load(totals + j * kLanes<T>);
      AEFAST_UNROLL
      for (int i = 0; i < kRows; ++i) {
        const Index at = (i * kVectors + j) * kLanes<T>;
        const Vec<T> error = sum[i][j] - Vec<T>::load(wanted + at);
        total = total + error * error;
        (factor * (error + error)).store(tile + at);
      }
      total.store(totals + j * kLanes<T>);
    }
  }
};

}  // namespace aefast
