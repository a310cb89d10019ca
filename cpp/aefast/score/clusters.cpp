#include "clusters.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>

namespace aefast {
namespace {

using Double = Vec<double>;

constexpr int kNearest = 3;          // centres whose mean distance says how far out a row lies
constexpr double kFarthest = 1e300;  // in place of distances that are not finite
constexpr double kNone = -1;         // in place of a centre
constexpr double kRounding = 1e-9;   // of shares of rows

/// The squared distance of rows from a centre, which is finite: their own squares (at `square`) and a product.
Double distance(const Double& product, const double* square) {
  const Double sum = product + Double::load(square), farthest(kFarthest);
  return select(less(sum, farthest), max(sum, Double(0.0)), farthest);
}

/// Stores the distances of rows with these `squares` (width).
struct StoreDistances {
  const double* squares;

  template <int kRows, int kVectors>
  void operator()(const Double (&sum)[kRows][kVectors], double* tile) const {
    AEFAST_UNROLL
    for (int i = 0; i < kRows; ++i) {
      AEFAST_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        const Index lane = j * kLanes<double>;
        distance(sum[i][j], squares + lane).store(tile + i * kVectors * kLanes<double> + lane);
      }
    }
  }
};

/// Keeps each row's kCount smallest distances in `least` (kCount x width), ascending, and the number of the nearest
/// centre, the first of equal ones. `c` is the whole product, which is not stored.
template <int kCount>
struct KeepNearest {
  const double *c, *squares;
  double *least, *nearest;

  template <int kRows, int kVectors>
  void operator()(const Double (&sum)[kRows][kVectors], const double* tile) const {
    constexpr Index kWidth = kVectors * kLanes<double>;
    const auto first = static_cast<double>((tile - c) / kWidth);
    AEFAST_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      const Index lane = j * kLanes<double>;
      Double kept[kCount], number = Double::load(nearest + lane);
      AEFAST_UNROLL
      for (int rank = 0; rank < kCount; ++rank) kept[rank] = Double::load(least + rank * kWidth + lane);
      AEFAST_UNROLL
      for (int i = 0; i < kRows; ++i) {
        const Double value = distance(sum[i][j], squares + lane);
        number = select(less(value, kept[0]), Double(first + i), number);
        keep_least(kept, value);
      }
      AEFAST_UNROLL
      for (int rank = 0; rank < kCount; ++rank) kept[rank].store(least + rank * kWidth + lane);
      number.store(nearest + lane);
    }
  }
};

/// Finds a limit that just `n` of the distances do not exceed, 1 <= n <= n_distances, by bisection: counting all of
/// them a dozen times is faster than moving them. Returns false if equal distances leave no such limit.
bool find_limit(const double* distances, Index n_distances, Index n, double& limit) {
  // Doubles from zero on are in the order of their bits.
  const auto bits = [&](Index i) { return std::bit_cast<std::int64_t>(distances[i]); };
  std::int64_t least = bits(0), largest = bits(0);
  for (Index i = 1; i < n_distances; ++i) {
    least = std::min(bits(i), least);
    largest = std::max(bits(i), largest);
  }
  limit = std::bit_cast<double>(largest);
  if (n == n_distances) return true;
  for (std::int64_t low = least - 1, high = largest; high - low > 1;) {
    const std::int64_t middle = low + (high - low) / 2;
    Index n_within = 0;
    for (Index i = 0; i < n_distances; ++i) n_within += bits(i) <= middle;
    limit = std::bit_cast<double>(middle);
    if (n_within == n) return true;
    (n_within < n ? low : high) = middle;
  }
  return false;
}

}  // namespace

Clusters::Clusters(const double* rows, Index n_rows, Index n_columns, const double* weights)
    : rows_(rows),
      n_rows_(n_rows),
      n_columns_(n_columns),
      weights_(weights),
      blocks_(round_up(n_rows, kLanes<double>) * n_columns),
      squares_(round_up(n_rows, kLanes<double>)) {
  for (Index i = 0; i < n_rows; ++i) {
    const Index first = i / kPanel<double> * kPanel<double>;
    const Index width = std::min(kPanel<double>, round_up(n_rows - first, kLanes<double>));
    const double* row = rows + i * n_columns;
    double* to = blocks_.data() + first * n_columns + i - first;
    for (Index j = 0; j < n_columns; ++j) to[j * width] = row[j];
    squares_[i] = std::inner_product(row, row + n_columns, row, 0.0);
    total_weight_ += weight(i);
  }
}

template <class End, class F>
void Clusters::each_block(const double* centres, Index k, End&& end_of, F&& f) const {
  const Index d = n_columns_;
  const LinearMap<double> map(
      k, d, [&](Index c, Index j) { return -2 * centres[c * d + j]; },
      [&](Index c) { return std::inner_product(centres + c * d, centres + (c + 1) * d, centres + c * d, 0.0); });
  Buffer<double> products(k * kPanel<double>, Unset{});
  for (Index index = 0; index * kPanel<double> < n_rows_; ++index) {
    const Block block = block_of<double>(index, n_rows_, kPanel<double>);
    const auto end = end_of(block, products.data(), squares_.data() + block.first_row);
    map.apply(block, blocks_.data() + d * block.first_row, products.data(), end);
    f(block, products.data());
  }
}

/// Calls f(block, distances) for each block of rows: their squared distances from centres, k x the block's width.
template <class F>
void Clusters::each_block(const double* centres, Index k, F&& f) const {
  each_block(centres, k, [](const Block&, const double*, const double* squares) { return StoreDistances{squares}; }, f);
}

/// Writes the number of each row's nearest centre and, if kCount is kNearest, the mean distance of the nearest ones.
template <int kCount>
void Clusters::find_centres(const double* centres, Index k, double* nearest, double* means) const {
  Buffer<double> least(kCount * kPanel<double>, Unset{});
  each_block(
      centres, k,
      [&](const Block& block, const double* products, const double* squares) {
        std::fill_n(least.data(), kCount * block.width, kFarthest);
        std::fill_n(nearest + block.first_row, block.width, 0.0);
        return KeepNearest<kCount>{products, squares, least.data(), nearest + block.first_row};
      },
      [&](const Block& block, const double*) {
        if (kCount == 1) return;
        const Index n = std::min(k, Index{kCount});
        for (Index i = 0; i < block.width; ++i) {
          double sum = 0;
          for (Index rank = 0; rank < n; ++rank) sum += least[rank * block.width + i];
          means[block.first_row + i] = sum / static_cast<double>(n);
        }
      });
}

void Clusters::move_centres(double* centres, Index k, Index n_steps, double trimmed) const {
  const Index d = n_columns_;
  Buffer<double> label(squares_.size()), means(squares_.size()), sums(k * d), totals(k);
  std::vector<double> before;
  for (Index step = 0; step < n_steps; ++step) {
    const bool trims = step > 0 && trimmed > 0;
    if (trims) find_centres<kNearest>(centres, k, label.data(), means.data());
    else find_centres<1>(centres, k, label.data(), nullptr);
    if (trims) leave_out_farthest(means, trimmed, label);
    // If no row changed its centre, further steps would move none.
    if (std::equal(before.begin(), before.end(), label.data(), label.data() + n_rows_)) return;
    before.assign(label.data(), label.data() + n_rows_);
    std::fill_n(sums.data(), k * d, 0.0);
    std::fill_n(totals.data(), k, 0.0);
    for (Index i = 0; i < n_rows_; ++i) {
      const auto c = static_cast<Index>(label[i]);
      if (c < 0) continue;
      const double* row = rows_ + i * d;
      double *sum = sums.data() + c * d, own = weight(i);
      totals[c] += own;
      for (Index j = 0; j < d; ++j) sum[j] += own * row[j];
    }
    for (Index c = 0; c < k; ++c) {
      for (Index j = 0; j < d && totals[c] > 0; ++j) centres[c * d + j] = sums[c * d + j] / totals[c];
    }
  }
}

/// Gives kNone as label to the rows with the largest distances, at most `share` of the weight of all; of equal ones the
/// first.
void Clusters::leave_out_farthest(const Buffer<double>& distances, double share, Buffer<double>& label) const {
  const double most = share * total_weight_ * (1 + kRounding);
  double limit = 0;
  if (!weights_ && find_limit(distances.data(), n_rows_, n_rows_ - static_cast<Index>(most), limit)) {
    for (Index i = 0; i < n_rows_; ++i) label[i] = distances[i] > limit ? kNone : label[i];
    return;
  }
  std::vector<Index> order(static_cast<std::size_t>(n_rows_));
  std::iota(order.begin(), order.end(), Index{0});
  const Index n_sorted = weights_ ? n_rows_ : std::min(n_rows_, static_cast<Index>(most) + 1);
  std::partial_sort(order.begin(), order.begin() + n_sorted, order.end(), [&](Index a, Index b) {
    return distances[a] > distances[b] || (distances[a] == distances[b] && a < b);
  });
  double reached = 0;
  for (Index at = 0; at < n_sorted; ++at) {
    const Index i = order[static_cast<std::size_t>(at)];
    reached += weight(i);
    if (reached > most) break;
    label[i] = kNone;
  }
}

void Clusters::local_means(const double* anchors, Index k, double mass, double* means, double* spreads) const {
  const Index d = n_columns_;
  Buffer<double> all(k * n_rows_, Unset{}), share(n_rows_);
  std::vector<Index> near(static_cast<std::size_t>(n_rows_) + 1);
  each_block(anchors, k, [&](const Block& block, const double* distances) {
    for (Index c = 0; c < k; ++c) {
      std::copy_n(distances + c * block.width, block.n_rows, all.data() + c * n_rows_ + block.first_row);
    }
  });
  std::fill_n(means, k * d, 0.0);
  for (Index c = 0; c < k; ++c) {
    double *mean = means + c * d, total = 0, square = 0;
    find_nearest(all.data() + c * n_rows_, mass, share.data());
    // A list of the rows spares the loop below a branch that nothing predicts.
    std::size_t n_near = 0;
    for (Index i = 0; i < n_rows_; ++i) {
      near[n_near] = i;
      n_near += share[i] != 0;
    }
    for (std::size_t at = 0; at < n_near; ++at) {
      const Index i = near[at];
      const double own = share[i], *row = rows_ + i * d;
      total += own;
      square += own * squares_[i];
      for (Index j = 0; j < d; ++j) mean[j] += own * row[j];
    }
    for (Index j = 0; j < d; ++j) mean[j] /= total;
    spreads[c] = std::max(square / total - std::inner_product(mean, mean + d, mean, 0.0), 0.0);
  }
}

/// Writes the weights of the nearest rows that have the share `mass` of all, and 0 for the others; of equal distances
/// the first row is nearer.
void Clusters::find_nearest(const double* distances, double mass, double* share) const {
  if (weights_) {
    std::vector<Index> order(static_cast<std::size_t>(n_rows_));
    std::iota(order.begin(), order.end(), Index{0});
    std::ranges::stable_sort(order, {}, [&](Index i) { return distances[i]; });
    double before = 0;
    for (const Index i : order) {
      share[i] = before < mass * total_weight_ ? weights_[i] : 0;
      before += weights_[i];
    }
    return;
  }
  const double wanted = std::ceil(mass * static_cast<double>(n_rows_) - kRounding);
  Index n_left = std::clamp(static_cast<Index>(wanted), Index{1}, n_rows_);
  double limit = 0;
  if (find_limit(distances, n_rows_, n_left, limit)) {
    for (Index i = 0; i < n_rows_; ++i) share[i] = distances[i] <= limit ? 1 : 0;
    return;
  }
  std::copy_n(distances, n_rows_, share);
  std::nth_element(share, share + n_left - 1, share + n_rows_);
  limit = share[n_left - 1];
  for (Index i = 0; i < n_rows_; ++i) n_left -= distances[i] < limit;
  for (Index i = 0; i < n_rows_; ++i) {
    const bool is_tied = distances[i] == limit && n_left > 0;
    n_left -= is_tied;
    share[i] = distances[i] < limit || is_tied ? 1 : 0;
  }
}

void Clusters::power_distances(const double* means, const double* spreads, Index k, double* to) const {
  each_block(means, k, [&](const Block& block, const double* distances) {
    double* of_rows = to + block.first_row;
    std::fill_n(of_rows, block.n_rows, kFarthest);
    for (Index c = 0; c < k; ++c) {
      for (Index i = 0; i < block.n_rows; ++i) {
        of_rows[i] = std::min(of_rows[i], distances[c * block.width + i] + spreads[c]);
      }
    }
  });
}

}  // namespace aefast
