/// Index type, aligned storage and the small geometry that every kernel shares.
#pragma once

#ifndef EIGEN_FAST_MATH
#define EIGEN_FAST_MATH 0  // square roots are correctly rounded
#endif

#include <Eigen/Core>
#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>

namespace aefast {

using Index = Eigen::Index;

inline constexpr std::size_t kAlignment = 64;

/// Numbers of levels are inputs of a network times this power of two, so that no limit of inputs clips them.
inline constexpr double kLevelUnit = 1.0 / (1 << 24);

/// The smallest multiple of `step` that is not below `value`.
constexpr Index round_up(Index value, Index step) { return (value + step - 1) / step * step; }

/// Selects a buffer without initial values: memory pages that are never touched are never allocated.
struct Unset {};

/// An owned array, aligned to cache lines, that does not move once sized. Zeroed unless made with `Unset`.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(Index size) { reset(size); }
  Buffer(Index size, Unset) { allocate(size); }

  void reset(Index size) {
    allocate(size);
    std::fill_n(data_.get(), size, T{});
  }

  /// At least `size` elements; contents are lost when it grows.
  void reserve(Index size) {
    if (size > size_) reset(size);
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  Index size() const { return size_; }
  T& operator[](Index i) { return data_.get()[i]; }
  const T& operator[](Index i) const { return data_.get()[i]; }

 private:
  void allocate(Index size) {
    const std::size_t bytes = std::max<std::size_t>(1, static_cast<std::size_t>(size)) * sizeof(T);
    data_.reset(static_cast<T*>(::operator new(bytes, std::align_val_t{kAlignment})));
    size_ = size;
  }

  struct Free {
    void operator()(T* p) const { ::operator delete(p, std::align_val_t{kAlignment}); }
  };
  std::unique_ptr<T[], Free> data_;
  Index size_ = 0;
};

}  // namespace aefast
