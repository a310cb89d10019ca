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
  using Block = std::array<std::uint32_t, 4>;

  /// `stream` and `part` tell apart epochs, layers and the like within one purpose.
  Philox(std::uint64_t seed, Draw purpose, std::uint64_t stream, std::uint32_t part = 0)
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        high_{static_cast<std::uint32_t>(stream), (static_cast<std::uint32_t>(purpose) << 24) ^ part} {}

  /// Four words for the `index`-th block of the stream.
  Block operator()(std::uint64_t index) const {
    std::uint32_t c0 = static_cast<std::uint32_t>(index), c1 = static_cast<std::uint32_t>(index >> 32);
    std::uint32_t c2 = high_[0], c3 = high_[1];
    std::uint32_t k0 = key_[0], k1 = key_[1];
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c0;
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * c2;
      c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
      c1 = static_cast<std::uint32_t>(p1);
      c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
      c3 = static_cast<std::uint32_t>(p0);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
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

/// A bijection of [0, n): a Feistel network over the next power of two, walked until it lands inside
/// (Black and Rogaway 2002). Any element is found without storing or drawing the others.
class Permutation {
 public:
  Permutation(Index n, std::uint64_t seed, std::uint64_t epoch) : n_(static_cast<std::uint64_t>(n)) {
    const int bits = static_cast<int>(std::bit_width(n_ > 1 ? n_ - 1 : std::uint64_t{1}));
    low_bits_ = (bits + 1) / 2;
    high_bits_ = bits - low_bits_;
    const Philox philox(seed, Draw::shuffle, epoch);
    for (unsigned block = 0; block < 2; ++block) {
      const auto words = philox(block);
      std::copy(words.begin(), words.end(), keys_ + 4 * block);
    }
  }

  Index operator()(Index i) const {
    std::uint64_t x = static_cast<std::uint64_t>(i);
    do x = once(x);
    while (x >= n_);
    return static_cast<Index>(x);
  }

 private:
  static std::uint32_t mix(std::uint32_t x) {
    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x *= 0x846CA68Bu;
    return x ^ (x >> 16);
  }

  /// Each round adds a hash of one part to the other, so that it can be undone: a bijection of [0, 2^bits).
  std::uint64_t once(std::uint64_t x) const {
    const std::uint64_t low_mask = (std::uint64_t{1} << low_bits_) - 1;
    const std::uint64_t high_mask = (std::uint64_t{1} << high_bits_) - 1;
    std::uint64_t low = x & low_mask, high = x >> low_bits_;
    for (int round = 0; round < 8; round += 2) {
      low = (low + mix(static_cast<std::uint32_t>(high) ^ keys_[round])) & low_mask;
      high = (high + mix(static_cast<std::uint32_t>(low) ^ keys_[round + 1])) & high_mask;
    }
    return (high << low_bits_) | low;
  }

  std::uint64_t n_;
  int low_bits_ = 0, high_bits_ = 0;
  std::uint32_t keys_[8] = {};
};

}  // namespace aefast
