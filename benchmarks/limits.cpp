// What one core can do at most: fused multiply-adds held in registers, and reading memory once.
#include <cstddef>
#include <cstdint>

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif

typedef float Vec __attribute__((vector_size(kBytes)));
constexpr int kLanes = kBytes / 4;
constexpr int kSums = 12;  // enough to hide a multiply-add's latency of four or five cycles on two units

extern "C" {

/// `steps` rounds of kSums multiply-adds; returns how many floating-point operations that was.
double multiply_adds(std::int64_t steps, float* result) {
  const Vec zero = {}, factor = zero + 0.999f, term = zero + 0.001f;
  Vec s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero;
  Vec s6 = zero, s7 = zero, s8 = zero, s9 = zero, s10 = zero, s11 = zero;
  for (std::int64_t step = 0; step < steps; ++step) {
    // the empty statement keeps the compiler from merging or moving the sums
#define ROUND(s) s = s * factor + term; asm volatile("" : "+x"(s))
    ROUND(s0); ROUND(s1); ROUND(s2); ROUND(s3); ROUND(s4); ROUND(s5);
    ROUND(s6); ROUND(s7); ROUND(s8); ROUND(s9); ROUND(s10); ROUND(s11);
#undef ROUND
  }
  *result = (s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11)[0];
  return 2.0 * kLanes * kSums * static_cast<double>(steps);
}

/// Reads `count` floats once.
void read_memory(const float* from, std::int64_t count, float* result) {
  constexpr int kStreams = 8;
  Vec sum[kStreams] = {};
  const Vec* vectors = reinterpret_cast<const Vec*>(from);
  for (std::int64_t i = 0; i + kStreams <= count / kLanes; i += kStreams) {
#pragma GCC unroll 8
    for (int j = 0; j < kStreams; ++j) sum[j] += vectors[i + j];
  }
  Vec total = {};
  for (int j = 0; j < kStreams; ++j) total += sum[j];
  *result = total[0];
}
}
