#include "distances.hpp"

#include <cmath>
#include <functional>
#include <numeric>

#include "aefast/simd/vector_math.hpp"

namespace aefast {
namespace {

using Doubles = std::vector<double>;

constexpr double kFarthest = 1e30;               // in the scaled space, and in units of a column
constexpr double kRounding[] = {0, 1e-5, 1e-6};  // least J as a share of D, and least P as a share of |z|^2
constexpr double kLeast = 1e-12;                 // least distance of which a logarithm is taken

/// W' c of one centre, the direction in which it lies in the space of v.
Doubles direction(const DistanceArrays& of, const double* centre) {
  Doubles to(static_cast<std::size_t>(of.n_joint)), scaled(centre, centre + of.n_joint);
  if (of.rest) std::transform(centre, centre + of.n_joint, of.rest, scaled.begin(), std::divides<>());
  for (Index j = 0; of.rest && j < of.n_joint; ++j) to[static_cast<std::size_t>(j)] = of.rest[j] * centre[j];
  for (Index k = 0; k < of.n_directions; ++k) {
    const double* row = of.matrix + k * of.n_joint;
    const double factor =
        of.rest ? -of.back[k] * std::inner_product(row, row + of.n_joint, scaled.begin(), 0.0) : centre[k];
    std::transform(row, row + of.n_joint, to.begin(), to.begin(),
                   [&](double w, double sum) { return sum + factor * w; });
  }
  return to;
}

/// The upper triangular R with R'R = W'W (Cholesky), for which |R x| = |W x|.
Doubles triangular(const double* matrix, Index p) {
  Doubles r(static_cast<std::size_t>(p * p));
  const auto at = [&](Index i, Index j) -> double& { return r[static_cast<std::size_t>(i * p + j)]; };
  for (Index k = 0; k < p; ++k) {
    const double* row = matrix + k * p;
    for (Index i = 0; i < p; ++i) {
      for (Index j = i; j < p; ++j) at(i, j) += row[i] * row[j];
    }
  }
  for (Index i = 0; i < p; ++i) {
    const double pivot = std::sqrt(std::max(at(i, i), std::numeric_limits<double>::min()));
    for (Index j = i; j < p; ++j) at(i, j) /= pivot;
    for (Index k = i + 1; k < p; ++k) {
      for (Index j = k; j < p; ++j) at(k, j) -= at(i, k) * at(i, j);
    }
  }
  return r;
}

}  // namespace

/// Keeps the kLeast smallest sums of each row in `least` (kLeast x width), ascending, and stores nothing.
template <class T, int kCount>
struct KeepLeast {
  T* least;

  template <int kRows, int kVectors>
  void operator()(const Vec<T> (&sum)[kRows][kVectors], const T*) const {
    constexpr Index kWidth = kVectors * kLanes<T>;
    AEFAST_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      T* to = least + j * kLanes<T>;
      Vec<T> kept[kCount];
      AEFAST_UNROLL
      for (int rank = 0; rank < kCount; ++rank) kept[rank] = Vec<T>::load(to + rank * kWidth);
      AEFAST_UNROLL
      for (int i = 0; i < kRows; ++i) keep_least(kept, sum[i][j]);
      AEFAST_UNROLL
      for (int rank = 0; rank < kCount; ++rank) kept[rank].store(to + rank * kWidth);
    }
  }
};

template <class T>
Distances<T>::Work::Work(const Distances& distances, Index width)
    : rows(kRows * width),
      w(distances.n_joint_ * width, Unset{}),
      products(std::max({distances.near_.n_out(), distances.local_.n_out(), distances.whiten_.n_out()}) * width,
               Unset{}),
      unclipped((distances.n_elements() + static_cast<Index>(distances.others_.size())) * width, Unset{}),
      nearest(static_cast<std::size_t>(kNearest * width)),
      local(static_cast<std::size_t>(width)) {
  if (distances.others_.empty()) return;
  residual.reset(distances.n_joint_ * width);
  inputs.reset(distances.n_elements() * width);
}

template <class T>
Distances<T>::Distances(const Scaling& scaling, const DistanceArrays& of)
    : elements_(of.elements), n_joint_(of.n_joint), limit_(static_cast<T>(scaling.limit())) {
  const Index m = n_elements(), p = n_joint_;
  for (Index j = 0, next = 0; j < scaling.size(); ++j) {
    if (next < m && elements_[static_cast<std::size_t>(next)] == j) ++next;
    else others_.push_back(j);
  }
  const auto bias = [&](Index k) { return -std::inner_product(of.centre, of.centre + p, of.matrix + k * p, 0.0); };
  whiten_ = LinearMap<T>(of.n_directions, p, [&](Index k, Index i) { return of.matrix[k * p + i]; }, bias);
  if (!of.rest) {
    const Doubles r = triangular(of.matrix, p);
    const double* at = r.data();
    root_ = TriangularMap<T>(
        p, [&](Index i, Index j) { return j < i ? 0.0 : at[i * p + j]; },
        [&](Index i) { return -std::inner_product(of.centre + i, of.centre + p, at + i * p + i, 0.0); });
  } else {
    back_ = LinearMap<T>(
        p, of.n_directions, [&](Index i, Index k) { return -of.back[k] * of.matrix[k * p + i] / of.rest[i]; },
        [](Index) { return 0.0; });
    rest_.reset(p);
    std::transform(of.rest, of.rest + p, rest_.data(), [](double x) { return static_cast<T>(x); });
  }
  const auto copied = [](const double* from, Index n, Buffer<T>& to) {
    to.reset(n);
    std::transform(from, from + n, to.data(), [](double x) { return static_cast<T>(x); });
  };
  copied(of.centre, p, centre_);
  copied(of.centres, of.n_centres * p, centres_);

  std::vector<Doubles> directions;
  for (Index k = 0; k < of.n_centres; ++k) directions.push_back(direction(of, of.centres + k * p));
  near_ = LinearMap<T>(
      of.n_centres, p,
      [&](Index k, Index i) { return -2 * directions[static_cast<std::size_t>(k)][static_cast<std::size_t>(i)]; },
      [&](Index k) {
        const double* c = of.centres + k * p;
        const Doubles& a = directions[static_cast<std::size_t>(k)];
        return std::inner_product(c, c + p, c, 0.0) + 2 * std::inner_product(a.begin(), a.end(), of.centre, 0.0);
      });

  Doubles middle(static_cast<std::size_t>(m));
  for (Index k = 0; k < of.n_means; ++k) {
    for (Index j = 0; j < m; ++j)
      middle[static_cast<std::size_t>(j)] += of.means[k * m + j] / static_cast<double>(of.n_means);
  }
  const auto mean = [&](Index k, Index j) { return of.means[k * m + j] - middle[static_cast<std::size_t>(j)]; };
  local_ = LinearMap<T>(
      of.n_means, m, [&](Index k, Index j) { return -2 * mean(k, j) / of.span[j]; },
      [&](Index k) {
        double sum = of.spreads[k];
        for (Index j = 0; j < m; ++j) sum += mean(k, j) * (mean(k, j) + 2 * middle[static_cast<std::size_t>(j)]);
        return sum;
      });
  means_.reset(of.n_means * m);
  for (Buffer<T>* each : {&middle_, &inverse_unit_, &half_, &inverse_span_, &offset_}) each->reset(m);
  for (Index j = 0; j < m; ++j) {
    const Index input = elements_[static_cast<std::size_t>(j)];
    const double scale = scaling.scale(input), unit = of.unit[j];
    for (Index k = 0; k < of.n_means; ++k) means_[k * m + j] = static_cast<T>(mean(k, j));
    middle_[j] = static_cast<T>((of.low[j] / 2 + of.high[j] / 2 - scaling.shift(input)) / scale);
    inverse_unit_[j] = static_cast<T>(std::min(scale / unit, kFarthest));
    half_[j] = static_cast<T>((of.high[j] / 2 - of.low[j] / 2) / unit);
    inverse_span_[j] = static_cast<T>(1 / of.span[j]);
    offset_[j] = static_cast<T>(-middle[static_cast<std::size_t>(j)]);
  }
  for (int part = 0; part < 3; ++part) {
    median_[part] = static_cast<T>(of.calibration[2 * part]);
    inverse_spread_[part] = static_cast<T>(1 / of.calibration[2 * part + 1]);
  }
  median_[0] += static_cast<T>(std::log(static_cast<double>(p)));
  top_ = static_cast<T>(of.top);
  slope_ = static_cast<T>(of.slope);
}

template <class T>
void Distances<T>::guard(const Block& block, bool may_miss, bool explains, T* rows, Work& work) const {
  const Index width = block.width;
  const Vec<T> zero(T(0)), limit(limit_), farthest(static_cast<T>(kFarthest));
  if (explains) std::copy_n(rows, (n_elements() + static_cast<Index>(others_.size())) * width, work.unclipped.data());
  // x * 0 is 0 for every finite x.
  const auto clipped = [&](const Vec<T>& x) { return fma(x, zero, clip(x, limit)); };
  for (Index lane = 0; lane < width; lane += kLanes<T>) {
    Vec<T> beyond(zero), square(zero);
    const auto add = [&](auto misses) {
      for (Index j = 0; j < n_elements(); ++j) {
        T* at = rows + elements_[static_cast<std::size_t>(j)] * width + lane;
        const Vec<T> x = Vec<T>::load(at), inside = clipped(x);
        inside.store(at);
        Vec<T> seen = inside, over = fma(abs(x - Vec<T>(middle_[j])), Vec<T>(inverse_unit_[j]), Vec<T>(-half_[j]));
        if constexpr (misses) over = mask_and(is_known(x), over), seen = mask_and(is_known(x), seen);
        const Vec<T> z = fma(seen, Vec<T>(inverse_span_[j]), Vec<T>(offset_[j]));
        beyond = max(beyond, over);
        square = fma(z, z, square);
      }
    };
    if (may_miss) add(std::true_type{});
    else add(std::false_type{});
    for (const Index j : others_) {
      T* at = rows + j * width + lane;
      clipped(Vec<T>::load(at)).store(at);
    }
    min(beyond, farthest).store(work.rows.data() + kBeyond * width + lane);
    square.store(work.rows.data() + kSquare * width + lane);
  }
}

template <class T>
void Distances<T>::measure(const Block& block, const T* joint, const T* rows, Work& work) const {
  const Index width = block.width, m = n_elements();
  T* const to = work.rows.data();
  work.v = joint, work.y = rows;
  if (!others_.empty()) {
    for (Index j = 0; j < m; ++j) {
      const Index from = elements_[static_cast<std::size_t>(j)] * width;
      std::copy_n(joint + from, width, work.residual.data() + j * width);
      std::copy_n(rows + from, width, work.inputs.data() + j * width);
    }
    const Index n_inputs = m + static_cast<Index>(others_.size());
    std::copy_n(joint + n_inputs * width, (n_joint_ - m) * width, work.residual.data() + m * width);
    work.v = work.residual.data(), work.y = work.inputs.data();
  }
  std::fill_n(to + kJoint * width, 2 * width, T(0));
  std::fill_n(to + kNear * width, (kNearest + 1) * width, std::numeric_limits<T>::max());
  for (Index lane = 0; is_low_rank() && lane < width; lane += kLanes<T>) {
    Vec<T> sum(T(0));
    for (Index j = 0; j < n_joint_; ++j) {
      const Vec<T> away = Vec<T>(rest_[j]) * (Vec<T>::load(work.v + j * width + lane) - Vec<T>(centre_[j]));
      sum = fma(away, away, sum);
    }
    sum.store(to + kJoint * width + lane);
  }
  const AddSquares<T> squares{nullptr, nullptr, to + (is_low_rank() ? kCut : kJoint) * width};
  if (is_low_rank()) whiten_.apply(block, work.v, work.products.data(), squares);
  else root_.apply(block, work.v, squares);
  near_.apply(block, work.v, work.products.data(), KeepLeast<T, kNearest>{to + kNear * width});
  local_.apply(block, work.y, work.products.data(), KeepLeast<T, 1>{to + kLocal * width});
}

/// D, J or P of the rows of a register, whose scratch is `rows`.
template <class T>
Vec<T> Distances<T>::distance(Index part, const T* rows, Index width) const {
  const auto at = [&](Index row) { return Vec<T>::load(rows + row * width); };
  const Vec<T> least(static_cast<T>(kLeast)), share(static_cast<T>(kRounding[part]));
  if (part == 2) return max(max(at(kLocal) + at(kSquare), share * at(kSquare)), least);
  const Vec<T> joint = max(at(kJoint) - at(kCut), Vec<T>(T(0)));
  if (part == 0) return max(joint, least);
  const Vec<T> third(static_cast<T>(1.0 / 3));
  return max(max(fma(at(kNear) + at(kNear + 1) + at(kNear + 2), third, joint), share * joint), least);
}

template <class T>
void Distances<T>::finish(const Block& block, Work& work, T* to) const {
  const Vec<T> zero(T(0)), one(T(1)), two(T(2)), least(std::numeric_limits<T>::min());
  for (Index lane = 0; lane < block.width; lane += kLanes<T>) {
    T* rows = work.rows.data() + lane;
    const auto at = [&](Index row) { return rows + row * block.width; };
    const Vec<T> beyond = Vec<T>::load(at(kBeyond));
    const bool is_beyond = sum(beyond) > 0;  // rarely, and a logarithm takes long
    Vec<T> largest(std::numeric_limits<T>::lowest());
    if (is_beyond) largest = fma(log(max(two * beyond, least)), Vec<T>(slope_), Vec<T>(top_));
    largest.store(at(kParts + 3));
    Vec<T> away[3], logs[3];
    AEFAST_UNROLL
    for (Index part = 0; part < 3; ++part) away[part] = distance(part, rows, block.width);
    // Together, since each waits for its own steps.
    AEFAST_UNROLL
    for (Index part = 0; part < 3; ++part) logs[part] = log_of_normal(away[part]);
    AEFAST_UNROLL
    for (Index part = 0; part < 3; ++part) {
      const Vec<T> standard = (logs[part] - Vec<T>(median_[part])) * Vec<T>(inverse_spread_[part]);
      standard.store(at(kParts + part));
      largest = max(largest, standard);
    }
    // A row with NaN, or an overflow, has no finite distance.
    const Vec<T> nothing = zero * (Vec<T>::load(at(kJoint)) + Vec<T>::load(at(kSquare)) + away[1] + away[2]);
    if (is_beyond) largest = largest + log(one + beyond);
    (largest + nothing).store(to + lane);
  }
}

template <class T>
void Distances<T>::parts(const Block& block, const Work& work, T* to) const {
  const T of_joint = static_cast<T>(std::log(static_cast<double>(n_joint_)));
  for (Index lane = 0; lane < block.width; lane += kLanes<T>) {
    const T* rows = work.rows.data() + lane;
    alignas(kAlignment) T values[4][kLanes<T>];
    for (Index part = 0; part < 3; ++part) {
      const Vec<T> nothing =
          Vec<T>(T(0)) * (Vec<T>::load(rows + kJoint * block.width) + Vec<T>::load(rows + kSquare * block.width));
      (log(distance(part, rows, block.width)) - Vec<T>(part == 0 ? of_joint : T(0)) + nothing).store(values[part]);
    }
    Vec<T>::load(rows + kBeyond * block.width).store(values[3]);
    for (Index i = 0; i < std::min(kLanes<T>, block.n_rows - lane); ++i) {
      T* row = to + (block.first_row + lane + i) * 4;
      for (Index part = 0; part < 4; ++part) row[part] = values[part][i];
    }
  }
}

/// Computes w of the block in work.w.
template <class T>
void Distances<T>::whiten(const Block& block, Work& work) const {
  if (!is_low_rank()) return whiten_.apply(block, work.v, work.w.data());
  whiten_.apply(block, work.v, work.products.data());
  back_.apply(block, work.products.data(), work.w.data());
  for (Index j = 0; j < n_joint_; ++j) {
    const Vec<T> rest(rest_[j]), centre(centre_[j]);
    map(
        work.w.data() + j * block.width, block.width,
        [&](const Vec<T>& w, const Vec<T>& v) { return fma(rest, v - centre, w); },
        static_cast<const T*>(work.w.data() + j * block.width), work.v + j * block.width);
  }
}

namespace {

/// The numbers of the `n` smallest of `count` values that are `step` apart, ascending; the first of equal ones.
template <class T>
void find_least(const T* values, Index count, Index step, Index n, Index* numbers) {
  for (Index found = 0; found < n; ++found) {
    Index best = -1;
    for (Index k = 0; k < count; ++k) {
      if (std::find(numbers, numbers + found, k) != numbers + found) continue;
      if (best < 0 || values[k * step] < values[best * step]) best = k;
    }
    numbers[found] = best;
  }
}

}  // namespace

template <class T>
void Distances<T>::contributions(const Block& block, Work& work, T* terms, T* totals) const {
  const Index width = block.width;
  const T* parts = work.rows.data() + kParts * width;
  whiten(block, work);
  T* products = work.products.data();
  near_.apply(block, work.v, products);
  for (Index i = 0; i < block.n_rows; ++i) {
    find_least(products + i, near_.n_out(), width, kNearest, work.nearest.data() + kNearest * i);
  }
  local_.apply(block, work.y, products);
  for (Index i = 0; i < block.n_rows; ++i) find_least(products + i, local_.n_out(), width, 1, work.local.data() + i);

  std::fill_n(totals, width, T(0));
  for (const Index j : others_) std::fill_n(terms + j * width, width, T(0));
  for (Index i = 0; i < width; ++i) {
    if (i >= block.n_rows) {
      for (const Index j : elements_) terms[j * width + i] = T(0);
      continue;
    }
    Index largest = 0;
    for (Index part = 1; part < 4; ++part) {
      if (parts[part * width + i] > parts[largest * width + i]) largest = part;
    }
    explain(largest, work.w.data() + i, work.y + i, work.unclipped.data() + i, work.nearest.data() + kNearest * i,
            work.local[static_cast<std::size_t>(i)], width, terms + i);
    for (const Index j : elements_) totals[i] += terms[j * width + i];
  }
}

/// Writes the terms of one row, whose elements are `width` apart.
template <class T>
void Distances<T>::explain(Index part, const T* w, const T* y, const T* unclipped, const Index* nearest, Index mean,
                           Index width, T* terms) const {
  constexpr T kLeastTerm = static_cast<T>(1e-6);  // makes all elements equal if the row is the mean
  const Index m = n_elements();
  const auto term = [&](Index j) -> T& { return terms[elements_[static_cast<std::size_t>(j)] * width]; };
  if (part == 3) {
    Index farthest = 0;
    T most = -1;
    for (Index j = 0; j < m; ++j) {
      const T x = unclipped[elements_[static_cast<std::size_t>(j)] * width];
      const T over = std::abs(x - middle_[j]) * inverse_unit_[j] - half_[j];
      if (over > most) farthest = j, most = over;
      term(j) = T(0);
    }
    term(farthest) = T(1);
    return;
  }
  T all = 0;
  for (Index j = 0; j < m; ++j) {
    const T away = y[j * width] * inverse_span_[j] + offset_[j] - means_[mean * m + j];
    all += term(j) = away * away + kLeastTerm;
  }
  if (part == 2) return;
  const auto square = [&](Index j) {
    const T own = w[j * width];
    if (part == 0) return own * own;
    T sum = 0;
    for (Index k = 0; k < kNearest; ++k) {
      const T away = own - centres_[nearest[k] * n_joint_ + j];
      sum += away * away;
    }
    return sum / kNearest;
  };
  T of_code = 0;
  for (Index j = m; j < n_joint_; ++j) of_code += square(j);
  for (Index j = 0; j < m; ++j) term(j) = square(j) + of_code * term(j) / all;
}

template class Distances<float>;
template class Distances<double>;

}  // namespace aefast
