/// Counter-based random numbers: a value is a function of seed, stream and index, so the order of calls does not
/// matter.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "types.hpp"

namespace aefast {

/// What a sequence of random numbers is for. Sequences of different streams never overlap.
enum class Stream : std::uint32_t { shuffle, dropout, noise, code };

/// Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
class Philox {
 public:
  using Words = std::array<std::uint32_t, 4>;
  static constexpr int kRounds = 10;
  static constexpr std::uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  static constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;

  /// `epoch` and `part` (a layer, for example) separate sequences within one stream.
  Philox(std::uint64_t seed, Stream stream, std::uint64_t epoch, std::uint32_t part = 0)
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        high_{static_cast<std::uint32_t>(epoch), (static_cast<std::uint32_t>(stream) << 24) ^ part} {}

  const std::uint32_t* key() const { return key_; }
  const std::uint32_t* high() const { return high_; }

  /// The four words of counter `index`.
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

/// Converts a word to a number in [0, 1), with 24 bits so that float holds it exactly.
template <class T>
T uniform(std::uint32_t word) {
  return static_cast<T>(word >> 8) * static_cast<T>(0x1p-24);
}

/// A random permutation of [0, n): a Feistel network over a rectangle of at least n cells, applied again until the
/// result is below n (Black and Rogaway 2002). Any element is computed without the others.
class Permutation {
 public:
  Permutation(Index n, std::uint64_t seed, std::uint64_t epoch) : n_(static_cast<std::uint64_t>(n)) {
    columns_ = std::max(1u, static_cast<std::uint32_t>(std::sqrt(static_cast<double>(n))));
    rows_ = static_cast<std::uint32_t>((n_ + columns_ - 1) / columns_);
    keys_ = Philox(seed, Stream::shuffle, epoch)(0);
  }

  /// to[i] = element first + i. The rounds run over many elements at once, in loops that the compiler vectorises.
  void fill(Index first, Index n, Index* to) const {
    constexpr std::uint32_t kChunk = 64;
    std::uint32_t column[kChunk], row[kChunk];
    for (Index start = 0; start < n; start += kChunk) {
      const std::uint64_t begin = static_cast<std::uint64_t>(first + start);
      Cell at_cell = cell(begin);
      for (std::uint32_t i = 0; i < kChunk; ++i) {
        column[i] = around(at_cell.column + i, columns_);
        row[i] = at_cell.row + (at_cell.column + i >= columns_);
      }
      for (std::uint32_t i = 0; columns_ < kChunk && i < kChunk; ++i) {  // narrow rectangle: several rows of cells
        column[i] = at_cell.column;
        row[i] = at_cell.row;
        at_cell = at_cell.column + 1 < columns_ ? Cell{at_cell.column + 1, at_cell.row} : Cell{0, at_cell.row + 1};
      }
      for (unsigned round = 0; round < kRounds; round += 2) {
        for (std::uint32_t i = 0; i < kChunk; ++i) column[i] = moved(column[i], columns_, row[i], keys_[round]);
        for (std::uint32_t i = 0; i < kChunk; ++i) row[i] = moved(row[i], rows_, column[i], keys_[round + 1]);
      }
      Index last_ones[kChunk], most = 0;
      const Index count = std::min<Index>(kChunk, n - start);
      Index* at = count == kChunk ? to + start : last_ones;
      for (std::uint32_t i = 0; i < kChunk; ++i) {
        at[i] = static_cast<Index>(index({column[i], row[i]}));
        most = std::max(most, at[i]);
      }
      for (Index i = 0; most >= static_cast<Index>(n_) && i < count; ++i) at[i] = walk(at[i]);
      if (count < kChunk) std::copy_n(last_ones, count, to + start);
    }
  }

 private:
  static constexpr unsigned kRounds = 4;
  struct Cell {
    std::uint32_t column, row;
  };

  Cell cell(std::uint64_t x) const {
    return {static_cast<std::uint32_t>(x % columns_), static_cast<std::uint32_t>(x / columns_)};
  }
  std::uint64_t index(const Cell& at) const { return std::uint64_t{at.row} * columns_ + at.column; }

  Index walk(Index x) const {
    while (x >= static_cast<Index>(n_)) x = once(x);
    return x;
  }

  /// A hash of `x` and `key` in [0, bound) (mixer: Wellons 2018, "lowbias32").
  static std::uint32_t below(std::uint32_t bound, std::uint32_t value, std::uint32_t key) {
    std::uint32_t x = value ^ key;
    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x *= 0x846CA68Bu;
    x ^= x >> 16;
    return static_cast<std::uint32_t>((std::uint64_t{x} * bound) >> 32);
  }

  /// sum modulo bound, for a sum of two numbers below the bound: the difference wraps around if the sum is below it.
  static std::uint32_t around(std::uint32_t sum, std::uint32_t bound) { return std::min(sum, sum - bound); }

  /// Adds a hash of the other coordinate to a coordinate, modulo its bound, which is invertible.
  static std::uint32_t moved(std::uint32_t coordinate, std::uint32_t bound, std::uint32_t other, std::uint32_t key) {
    return around(coordinate + below(bound, other, key), bound);
  }

  /// Applies all rounds once: a bijection of the rectangle.
  Index once(Index x) const {
    auto [column, row] = cell(static_cast<std::uint64_t>(x));
    for (unsigned round = 0; round < kRounds; round += 2) {
      column = moved(column, columns_, row, keys_[round]);
      row = moved(row, rows_, column, keys_[round + 1]);
    }
    return static_cast<Index>(index({column, row}));
  }

  std::uint64_t n_;
  std::uint32_t columns_, rows_;
  Philox::Words keys_;
};

}  // namespace aefast
