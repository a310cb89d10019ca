/// Counter-based random numbers: a value is a function of (seed, stream, index), never of who asks first.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "types.hpp"

namespace aefast {

/// What a stream of random numbers is for; streams of different purposes never meet.
enum class Draw : std::uint32_t { shuffle, dropout, noise, code };

/// Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
class Philox {
 public:
  using Words = std::array<std::uint32_t, 4>;
  static constexpr int kRounds = 10;
  static constexpr std::uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  static constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;

  /// `stream` and `part` tell apart epochs, layers and the like within one purpose.
  Philox(std::uint64_t seed, Draw purpose, std::uint64_t stream, std::uint32_t part = 0)
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        high_{static_cast<std::uint32_t>(stream), (static_cast<std::uint32_t>(purpose) << 24) ^ part} {}

  const std::uint32_t* key() const { return key_; }
  const std::uint32_t* high() const { return high_; }

  /// The four words of counter `index` of the stream.
  Words operator()(std::uint64_t index) const {
    std::uint32_t c0 = static_cast<std::uint32_t>(index), c1 = static_cast<std::uint32_t>(index >> 32);
    std::uint32_t c2 = high_[0], c3 = high_[1];
    std::uint32_t k0 = key_[0], k1 = key_[1];
    for (int round = 0; round < kRounds; ++round) {
      const std::uint64_t p0 = std::uint64_t{kMultiplier0} * c0;
      const std::uint64_t p1 = std::uint64_t{kMultiplier1} * c2;
      c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
      c1 = static_cast<std::uint32_t>(p1);
      c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
      c3 = static_cast<std::uint32_t>(p0);
      k0 += kWeyl0;
      k1 += kWeyl1;
    }
    return {c0, c1, c2, c3};
  }

 private:
  std::uint32_t key_[2];
  std::uint32_t high_[2];
};

/// A word as a number in [0, 1), with 24 bits so that float holds it exactly.
template <class T>
T uniform(std::uint32_t word) {
  return static_cast<T>(word >> 8) * static_cast<T>(0x1p-24);
}

/// A bijection of [0, n): a Feistel network over a rectangle of at least n cells, walked until it lands inside (Black
/// and Rogaway 2002). Any element is found without storing or drawing the others.
class Permutation {
 public:
  Permutation(Index n, std::uint64_t seed, std::uint64_t epoch) : n_(static_cast<std::uint64_t>(n)) {
    columns_ = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::sqrt(static_cast<double>(n))));
    rows_ = (n_ + columns_ - 1) / columns_;
    keys_ = Philox(seed, Draw::shuffle, epoch)(0);
  }

  /// to[i] = element first + i. The rounds run over many at once, in loops that the compiler puts into vectors.
  void fill(Index first, Index n, Index* to) const {
    constexpr Index kChunk = 64;
    std::uint64_t column[kChunk], row[kChunk];
    std::uint64_t next_column = static_cast<std::uint64_t>(first) % columns_;
    std::uint64_t next_row = static_cast<std::uint64_t>(first) / columns_;
    for (Index start = 0; start < n; start += kChunk) {
      for (Index i = 0; i < kChunk; ++i) {
        column[i] = next_column++;
        row[i] = next_row;
        if (next_column == columns_) next_column = 0, ++next_row;
      }
      for (unsigned round = 0; round < 4; round += 2) {
        for (Index i = 0; i < kChunk; ++i) column[i] = moved(column[i], columns_, row[i], keys_[round]);
        for (Index i = 0; i < kChunk; ++i) row[i] = moved(row[i], rows_, column[i], keys_[round + 1]);
      }
      const Index count = std::min(kChunk, n - start);
      for (Index i = 0; i < count; ++i) {
        const std::uint64_t x = row[i] * columns_ + column[i];
        to[start + i] = x < n_ ? static_cast<Index>(x) : walk(x);
      }
    }
  }

 private:
  Index walk(std::uint64_t x) const {
    do x = once(x);
    while (x >= n_);
    return static_cast<Index>(x);
  }

  /// A hash of `x` and `key` in [0, bound) (mixer: Wellons 2018, "lowbias32").
  static std::uint64_t below(std::uint64_t bound, std::uint64_t value, std::uint32_t key) {
    std::uint32_t x = static_cast<std::uint32_t>(value) ^ key;
    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x *= 0x846CA68Bu;
    x ^= x >> 16;
    return (x * bound) >> 32;
  }

  /// A coordinate moved, around its bound, by a hash of the other; which can be undone.
  static std::uint64_t moved(std::uint64_t coordinate, std::uint64_t bound, std::uint64_t other, std::uint32_t key) {
    const std::uint64_t sum = coordinate + below(bound, other, key);
    return sum >= bound ? sum - bound : sum;
  }

  /// One pass of all rounds: a bijection of the rectangle.
  std::uint64_t once(std::uint64_t x) const {
    std::uint64_t column = x % columns_, row = x / columns_;
    for (unsigned round = 0; round < 4; round += 2) {
      column = moved(column, columns_, row, keys_[round]);
      row = moved(row, rows_, column, keys_[round + 1]);
    }
    return row * columns_ + column;
  }

  std::uint64_t n_, columns_, rows_;
  Philox::Words keys_;
};

}  // namespace aefast
