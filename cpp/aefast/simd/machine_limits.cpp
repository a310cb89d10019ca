#include "machine_limits.hpp"

namespace aefast {

double multiply_adds(Index n) {
  constexpr int kSums = 12;  // latencies are four or five cycles, with two units
  const Vec<float> factor(0.999f), term(0.001f);
  Vec<float> sums[kSums];
  for (Vec<float>& each : sums) each = term;
  for (Index i = 0; i < n; ++i) {
    AEFAST_UNROLL
    for (int j = 0; j < kSums; ++j) {
      auto next = fma(sums[j], factor, term).p;
      keep_computed(next);
      sums[j] = next;
    }
  }
  return 2.0 * kLanes<float> * kSums * static_cast<double>(n);
}

float read_memory(const float* from, Index n) {
  constexpr Index kStreams = 8, kStep = kStreams * kLanes<float>;
  Vec<float> sums[kStreams];
  for (Vec<float>& each : sums) each = Vec<float>(0.0f);
  for (Index i = 0; i + kStep <= n; i += kStep) {
    AEFAST_UNROLL
    for (Index j = 0; j < kStreams; ++j) sums[j] = sums[j] + Vec<float>::load_unaligned(from + i + j * kLanes<float>);
  }
  Vec<float> total(0.0f);
  for (const Vec<float>& each : sums) total = total + each;
  return sum(total);
}

}  // namespace aefast
