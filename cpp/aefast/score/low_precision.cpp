#include "low_precision.hpp"

#include <cmath>
#include <stdexcept>

#include "aefast/layer/dense.hpp"
#include "aefast/simd/simd.hpp"

namespace aefast {
namespace {

constexpr Index kTileOutputs = 4;                       // outputs of a register tile, which fill whole words
constexpr Index kLeastDepth = 16;                       // of a product in low precision
constexpr Index kLeastBytes = 32, kMostBytes = 50'000;  // depths at which a product of bytes pays and cannot overflow
constexpr float kRounding = 12582912.0f;                // 1.5 * 2^23; adding a number to it rounds that to an integer

/// Quantizes one feature to a byte, in a word.
Words quantize(const Packing& packing, Index feature, const Float& x) {
  const Float steps =
      max(min(x * Float(packing.inverse[feature]), Float(packing.high[feature])), Float(packing.low[feature]));
  return bits(steps + Float(packing.shift[feature])) & 0xffu;
}

/// Packs the features of tile `number` into two words (bfloat16) or one (bytes) of the operand, for one register of
/// rows.
inline void pack_tile(const Packing& packing, Index number, const Float (&x)[kTileOutputs], Index width,
                      std::uint32_t* to) {
  to += number * packing.words_of_tile() * width;
  if (packing.precision == Precision::bfloat16) {
    store(Level::Bfloat16::pack(x[0], x[1]), to);
    store(Level::Bfloat16::pack(x[2], x[3]), to + width);
  } else {
    const Index first = number * kTileOutputs;
    store(quantize(packing, first, x[0]) | quantize(packing, first + 1, x[1]) << 8 |
              quantize(packing, first + 2, x[2]) << 16 | quantize(packing, first + 3, x[3]) << 24,
          to);
  }
}

}  // namespace

bool is_native(Precision precision) { return precision == Precision::float32 || Level::kHasLowPrecision; }

/// The destination of a layer's outputs: the operand of the next layer, or an array; with `row_errors`, their squared
/// differences from `wanted` are added up for each row instead.
struct LowPrecisionNetwork::Destination {
  const Packing* packing = nullptr;
  std::uint32_t* packed = nullptr;
  float* out = nullptr;
  const float* wanted = nullptr;
  float* row_errors = nullptr;
};

/// A dense layer in low precision. Weights are stored by tiles of kTileOutputs outputs, and in a tile by word of the
/// depth.
struct LowPrecisionNetwork::Dense {
  Dense(const aefast::Dense<float>& layer, const float* params, Precision precision, const InputRange* range);

  void forward(const Block& block, const std::uint32_t* in, const Destination& to) const;

  Index n_in, n_out, n_words;
  Packing packing;  // of the inputs
  void (*activation)(float*, Index);
  bool is_relu;
  Buffer<std::uint32_t> weights;
  Buffer<float> bias;           // bfloat16
  Buffer<float> step;           // bytes: the value of one unit of the sum, by output
  Buffer<std::uint32_t> start;  // bytes: the bias in units, minus the contribution of the inputs' zeros

 private:
  void round_to_bfloat16(const std::vector<float>& w);
  void round_to_bytes(const std::vector<float>& w, const InputRange& range);
  template <class Kind, int kVectors>
  void tile(Index number, const std::uint32_t* in, const Destination& to) const;
  template <class Kind>
  void tiles(const Block& block, const std::uint32_t* in, const Destination& to) const;
};

LowPrecisionNetwork::Dense::Dense(const aefast::Dense<float>& layer, const float* params, Precision precision,
                                  const InputRange* range)
    : n_in(layer.n_in()),
      n_out(layer.n_out()),
      activation(layer.activation().forward),
      is_relu(layer.activation().is_relu) {
  const bool as_bytes = precision == Precision::int8 && n_in >= kLeastBytes && n_in <= kMostBytes;
  packing.precision = as_bytes ? Precision::int8 : Precision::bfloat16;
  n_words = round_up(n_in, kTileOutputs) / kTileOutputs * packing.words_of_tile();
  const Index n_outputs = round_up(n_out, kTileOutputs), n_inputs = round_up(n_in, kTileOutputs);
  weights.reset(n_outputs * n_words);
  bias.reset(n_outputs);
  for (Index o = 0; o < n_out; ++o) bias[o] = params[layer.bias().at<float>(0, o)];
  std::vector<float> w(static_cast<std::size_t>(n_outputs * n_inputs));  // output by output, padded with zeros
  for (Index o = 0; o < n_out; ++o) {
    for (Index i = 0; i < n_in; ++i) {
      const Index at = layer.is_tied() ? layer.weights().at<float>(i, o) : layer.weights().at<float>(o, i);
      w[static_cast<std::size_t>(o * n_inputs + i)] = params[at];
    }
  }
  if (as_bytes) round_to_bytes(w, *range);
  else round_to_bfloat16(w);
}

void LowPrecisionNetwork::Dense::round_to_bfloat16(const std::vector<float>& w) {
  const Index n_inputs = round_up(n_in, kTileOutputs);
  const auto rounded = [&](Index o, Index i) {
    return aefast::round_to_bfloat16(Float(w[static_cast<std::size_t>(o * n_inputs + i)]))[0];
  };
  for (Index o = 0; o < weights.size() / n_words; ++o) {
    for (Index k = 0; k < n_words; ++k) {
      weights[(o / kTileOutputs * n_words + k) * kTileOutputs + o % kTileOutputs] =
          rounded(o, 2 * k) >> 16 | rounded(o, 2 * k + 1);
    }
  }
}

void LowPrecisionNetwork::Dense::round_to_bytes(const std::vector<float>& w, const InputRange& range) {
  const Index n_inputs = round_up(n_in, kTileOutputs), n_outputs = round_up(n_out, kTileOutputs);
  std::vector<double> input_step(static_cast<std::size_t>(n_inputs)), zero(input_step);
  for (Buffer<float>* buffer : {&packing.inverse, &packing.low, &packing.high, &packing.shift}) buffer->reset(n_inputs);
  for (Index i = 0; i < n_inputs; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const double low = i < n_in ? std::min(0.0, static_cast<double>(range.low[at])) : 0.0;
    const double high = i < n_in ? std::max(0.0, static_cast<double>(range.high[at])) : 0.0;
    const double inverse = 255 / (high - low);
    const bool is_used = inverse > 0 && inverse < static_cast<double>(std::numeric_limits<float>::max());
    input_step[at] = is_used ? 1 / inverse : 0;  // an input that was always 0 counts as 0
    zero[at] = is_used ? std::nearbyint(-low * inverse) : 0.0;
    packing.inverse[i] = is_used ? static_cast<float>(inverse) : 0.0f;
    packing.low[i] = static_cast<float>(-zero[at]);
    packing.high[i] = static_cast<float>(255 - zero[at]);
    packing.shift[i] = kRounding + static_cast<float>(zero[at]);
  }
  step.reset(n_outputs);
  start.reset(n_outputs);
  for (Index o = 0; o < n_out; ++o) {
    const auto weight = [&](Index i) {
      return static_cast<double>(w[static_cast<std::size_t>(o * n_inputs + i)]) *
             input_step[static_cast<std::size_t>(i)];
    };
    double largest = 0;
    for (Index i = 0; i < n_in; ++i) largest = std::max(largest, std::abs(weight(i)));
    const double b = static_cast<double>(bias[o]);
    step[o] = static_cast<float>(std::max({largest / 127, std::abs(b) * 0x1p-28, 1e-30}));
    double offset = std::nearbyint(b / static_cast<double>(step[o]));
    for (Index i = 0; i < n_in; ++i) {
      const double rounded = std::clamp(std::nearbyint(weight(i) / static_cast<double>(step[o])), -127.0, 127.0);
      offset -= rounded * zero[static_cast<std::size_t>(i)];
      const auto byte = static_cast<std::uint32_t>(static_cast<std::int32_t>(rounded)) & 0xffu;
      weights[(o / kTileOutputs * n_words + i / 4) * kTileOutputs + o % kTileOutputs] |= byte << (8 * (i % 4));
    }
    start[o] = static_cast<std::uint32_t>(static_cast<std::int64_t>(offset));
  }
}

/// Computes one tile of outputs for a block of kVectors registers of rows, from the operand `in`.
template <class Kind, int kVectors>
void LowPrecisionNetwork::Dense::tile(Index number, const std::uint32_t* in, const Destination& to) const {
  static_assert(kTileOutputs * kVectors + kVectors + 1 <= kRegisters, "the tile would spill");
  constexpr bool kBytesIn = std::is_same_v<Kind, Level::Bytes>;
  constexpr Index kWidth = kVectors * kLanes<float>;
  const Index first = number * kTileOutputs;
  typename Kind::Sum sum[kTileOutputs][kVectors];
  AEFAST_UNROLL
  for (int i = 0; i < kTileOutputs; ++i) {
    AEFAST_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      if constexpr (kBytesIn) sum[i][j] = broadcast(start[first + i]);
      else sum[i][j] = (Floats)Float(bias[first + i]).p;
    }
  }
  const std::uint32_t* w = weights.data() + first * n_words;
  for (Index k = 0; k < n_words; ++k) {
    Words right[kVectors];
    AEFAST_UNROLL
    for (int j = 0; j < kVectors; ++j) right[j] = load(in + j * kLanes<float>);
    AEFAST_UNROLL
    for (int i = 0; i < kTileOutputs; ++i) {
      const Words left = broadcast(w[i]);
      AEFAST_UNROLL
      for (int j = 0; j < kVectors; ++j) sum[i][j] = Kind::dot(sum[i][j], right[j], left);
    }
    w += kTileOutputs;
    in += kWidth;
  }

  Float y[kVectors][kTileOutputs];
  AEFAST_UNROLL
  for (int i = 0; i < kTileOutputs; ++i) {
    AEFAST_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      if constexpr (kBytesIn)
        y[j][i] = Float((Float::Packet) __builtin_convertvector((Integers)sum[i][j], Floats)) * Float(step[first + i]);
      else y[j][i] = Float((Float::Packet)sum[i][j]);
    }
  }
  if (is_relu) {
    AEFAST_UNROLL
    for (int i = 0; i < kTileOutputs; ++i) {
      AEFAST_UNROLL
      for (int j = 0; j < kVectors; ++j) y[j][i] = max(y[j][i], Float(0.0f));
    }
  } else if (activation) {
    alignas(kAlignment) float values[kTileOutputs * kWidth];
    AEFAST_UNROLL
    for (int i = 0; i < kTileOutputs; ++i) {
      AEFAST_UNROLL
      for (int j = 0; j < kVectors; ++j) y[j][i].store(values + i * kWidth + j * kLanes<float>);
    }
    activation(values, kTileOutputs * kWidth);
    AEFAST_UNROLL
    for (int i = 0; i < kTileOutputs; ++i) {
      AEFAST_UNROLL
      for (int j = 0; j < kVectors; ++j) y[j][i] = Float::load(values + i * kWidth + j * kLanes<float>);
    }
  }
  if (to.packing) {
    AEFAST_UNROLL
    for (int j = 0; j < kVectors; ++j) pack_tile(*to.packing, number, y[j], kWidth, to.packed + j * kLanes<float>);
    return;
  }
  if (to.row_errors) {
    AEFAST_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      Float total = Float::load(to.row_errors + j * kLanes<float>);
      AEFAST_UNROLL
      for (int i = 0; i < kTileOutputs; ++i) {
        if (first + i >= n_out) break;
        const Float residual = Float::load(to.wanted + (first + i) * kWidth + j * kLanes<float>) - y[j][i];
        total = fma(residual, residual, total);
      }
      total.store(to.row_errors + j * kLanes<float>);
    }
    return;
  }
  AEFAST_UNROLL
  for (int i = 0; i < kTileOutputs; ++i) {
    if (first + i >= n_out) return;
    AEFAST_UNROLL
    for (int j = 0; j < kVectors; ++j) y[j][i].store(to.out + (first + i) * kWidth + j * kLanes<float>);
  }
}

template <class Kind>
void LowPrecisionNetwork::Dense::tiles(const Block& block, const std::uint32_t* in, const Destination& to) const {
  for (Index number = 0; number * kTileOutputs < n_out; ++number) {
    switch (block.width / kLanes<float>) {
      case 1: tile<Kind, 1>(number, in, to); break;
      case 2: tile<Kind, 2>(number, in, to); break;
      case 3: tile<Kind, 3>(number, in, to); break;
      default:
        if constexpr (kMaxVectors > 3) tile<Kind, 4>(number, in, to);
    }
    if (block.prefetcher) block.prefetcher->step();
  }
}

void LowPrecisionNetwork::Dense::forward(const Block& block, const std::uint32_t* in, const Destination& to) const {
  if (packing.precision == Precision::int8) tiles<Level::Bytes>(block, in, to);
  else tiles<Level::Bfloat16>(block, in, to);
}

namespace {

bool is_dense(const Layer<float>& layer) { return dynamic_cast<const Dense<float>*>(&layer) != nullptr; }

/// Packs float32 features (n x width) into a layer's operand.
void pack_block(const Packing& packing, Index n, Index width, const float* from, std::uint32_t* to) {
  for (Index feature = 0; feature < n; feature += kTileOutputs) {
    for (Index lane = 0; lane < width; lane += kLanes<float>) {
      Float x[kTileOutputs];
      for (Index i = 0; i < kTileOutputs; ++i) {
        x[i] = feature + i < n ? Float::load(from + (feature + i) * width + lane) : Float(0.0f);
      }
      pack_tile(packing, feature / kTileOutputs, x, width, to + lane);
    }
  }
}

}  // namespace

std::vector<InputRange> input_ranges(const Network<float>& network, const float* params, const Scaling& scaling,
                                     const InputView& input, Index n_beyond) {
  constexpr Index kWidth = kPanel<float>;
  const Index n_kept = n_beyond + 1;
  // The n_kept least values of each input of a dense layer in order, then the n_kept least negated values.
  std::vector<std::vector<float>> least;
  for (const auto& layer : network.layers()) {
    const auto size = static_cast<std::size_t>(2 * layer->n_in() * n_kept);
    if (is_dense(*layer)) least.emplace_back(size, std::numeric_limits<float>::infinity());
  }
  const auto insert = [n_kept](float value, float* kept) {
    for (Index at = n_kept; at > 0 && value < kept[at - 1]; --at) {
      if (at < n_kept) kept[at] = kept[at - 1];
      kept[at - 1] = value;
    }
    return kept[n_kept - 1];
  };
  Buffer<float> from(network.width() * kWidth), to(network.width() * kWidth);
  for (Index row = 0; row < input.rows; row += kWidth) {
    const Block block = block_of<float>(row / kWidth, input.rows, kWidth);
    read_block(input, scaling, {}, block, from.data());
    if (scaling.masks_missing()) clear_missing(scaling.size() * block.width, from.data(), from.data());
    auto kept = least.begin();
    for (const auto& layer : network.layers()) {
      if (is_dense(*layer)) {
        for (Index i = 0; i < layer->n_in(); ++i) {
          float *low = kept->data() + 2 * i * n_kept, *high = low + n_kept;
          float most_of_low = low[n_kept - 1], most_of_high = high[n_kept - 1];
          for (Index lane = 0; lane < block.n_rows; ++lane) {
            const float value = from[i * block.width + lane];
            if (value < most_of_low) most_of_low = insert(value, low);
            if (-value < most_of_high) most_of_high = insert(-value, high);
          }
        }
        ++kept;
      }
      layer->forward(block, params, from.data(), to.data());
      std::swap(from, to);
    }
  }
  std::vector<InputRange> ranges;
  for (const std::vector<float>& kept : least) {
    InputRange& range = ranges.emplace_back();
    for (std::size_t end = static_cast<std::size_t>(n_kept); end <= kept.size();
         end += 2 * static_cast<std::size_t>(n_kept)) {
      constexpr float kMost = std::numeric_limits<float>::max();
      range.low.push_back(std::clamp(kept[end - 1], -kMost, kMost));
      range.high.push_back(std::clamp(-kept[end - 1 + static_cast<std::size_t>(n_kept)], -kMost, kMost));
    }
  }
  return ranges;
}

LowPrecisionNetwork::LowPrecisionNetwork(const Network<float>& network, const float* params, Precision precision,
                                         const std::vector<InputRange>& ranges)
    : network_(network), params_(params) {
  std::size_t n_dense = 0;
  for (const auto& layer : network.layers()) {
    const auto* found = dynamic_cast<const aefast::Dense<float>*>(layer.get());
    dense_.push_back(nullptr);
    if (!found) continue;
    const InputRange* range = nullptr;
    if (precision == Precision::int8) {
      range = &ranges.at(n_dense);
      const auto n_in = static_cast<std::size_t>(found->n_in());
      if (range->low.size() != n_in || range->high.size() != n_in) {
        throw std::invalid_argument("a range has not the width of its layer");
      }
    }
    ++n_dense;
    if (found->n_in() < kLeastDepth) continue;
    dense_.back() = std::make_shared<const Dense>(*found, params, precision, range);
    n_words_ = std::max(n_words_, dense_.back()->n_words);
  }
}

LowPrecisionNetwork::Operands LowPrecisionNetwork::operands(Index width) const {
  return {Buffer<std::uint32_t>(n_words_ * width, Unset{}), Buffer<std::uint32_t>(n_words_ * width, Unset{})};
}

float* LowPrecisionNetwork::forward(Index first, Index last, const Block& block, const float* in,
                                    float* const (&layer)[2], Operands& operands) const {
  return forward(first, last, block, in, layer, operands, nullptr);
}

void LowPrecisionNetwork::squared_errors(const Block& block, const float* in, float* const (&layer)[2],
                                         Operands& operands, float* row_errors) const {
  std::fill_n(row_errors, block.width, 0.0f);
  forward(0, static_cast<Index>(dense_.size()), block, in, layer, operands, row_errors);
}

float* LowPrecisionNetwork::forward(Index first, Index last, const Block& block, const float* in,
                                    float* const (&layer)[2], Operands& operands, float* row_errors) const {
  [[maybe_unused]] const Level::FlushDenormals flushing;
  const float* from = in;
  const std::uint32_t* packed = nullptr;  // replaces `from` between two low-precision layers
  float* out = nullptr;
  for (Index i = first; i < last; ++i) {
    const Dense* current = dense(i);
    const auto free = [&] { return from == layer[0] ? layer[1] : layer[0]; };
    if (!current) {
      out = free();
      network_.layers()[static_cast<std::size_t>(i)]->forward(block, params_, from, out);
      from = out;
      continue;
    }
    if (!packed) {
      pack_block(current->packing, current->n_in, block.width, from, operands.of[0].data());
      packed = operands.of[0].data();
    }
    const Dense* next = i + 1 < last ? dense(i + 1) : nullptr;
    if (next) {
      std::uint32_t* to = packed == operands.of[0].data() ? operands.of[1].data() : operands.of[0].data();
      current->forward(block, packed, {.packing = &next->packing, .packed = to});
      packed = to;
    } else {
      out = free();
      if (row_errors && i + 1 == last) current->forward(block, packed, {.wanted = in, .row_errors = row_errors});
      else current->forward(block, packed, {.out = out});
      from = out;
      packed = nullptr;
    }
  }
  return out;
}

}  // namespace aefast
