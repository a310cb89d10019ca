/// Scoring in reduced precision: the products of dense layers with operands of bfloat16 or of bytes. Biases,
/// activations, the last output and the error stay float32.
///
/// Blocks are as in panel.hpp, but an *operand*, what a product reads, is packed in words of 32 bits: a word holds two
/// consecutive features of one row as bfloat16, or four as bytes, and word (k, row) stands at k * width + row. A
/// layer's weights are words likewise, one for each k, so that one instruction multiplies and adds two or four pairs a
/// lane.
///
/// bfloat16: rounded to nearest even; products are exact and summed in float32, the odd feature of a word before the
/// even one, denormals being zero, as AVX512-BF16 does (Intel, VDPBF16PS).
///
/// Bytes: an input x of a layer stands for round(x / s_i) + z_i, clipped to 0..255, with a step s_i and a zero z_i for
/// each feature from the range it had in training; the steps are part of the weights, which are rounded to -127..127
/// steps of their output (Jacob et al. 2018, section 2.1). Sums are exact integers.
///
/// Where layers have few inputs, fewer bits gain no time and cost most accuracy: such layers stay bfloat16 rather than
/// bytes, or float32.
///
/// Processors without the instructions compute the same bits, mostly no faster than float32.
#pragma once

#include "aefast/input/read_block.hpp"
#include "aefast/network/network.hpp"

namespace aefast {

enum class Precision { float32, bfloat16, int8 };

/// Whether the instructions for it are part of this level.
bool is_native(Precision precision);

/// Least and largest input of a layer, by feature.
struct InputRange {
  std::vector<float> low, high;
};

/// The ranges of the inputs of every dense layer over the rows of an array, without the `n_beyond` least and the
/// `n_beyond` largest values of each feature.
std::vector<InputRange> input_ranges(const Network<float>& network, const float* params, const Scaling& scaling,
                                     const InputView& input, Index n_beyond);

/// How float32 features become a layer's operand.
struct Packing {
  Precision precision = Precision::float32;
  // Of bytes, by feature: a byte is round(clamp(x * inverse, low, high)) + zero; `shift` adds the zero and rounds.
  Buffer<float> inverse, low, high, shift;

  Index words_of_group() const { return precision == Precision::bfloat16 ? 2 : 1; }
};

/// The dense layers of a network that are worth it, their weights packed.
class ReducedNetwork {
 public:
  /// Rows of a block at most: 16 registers are too few for three of rows, taken apart, and their sums.
  static constexpr Index kMostRows = Level::kLowPrecisionVectors * kLanes<float>;

  /// Borrows the network and its parameters. `ranges`, for Precision::int8, has one element for each dense layer.
  ReducedNetwork(const Network<float>& network, const float* params, Precision precision,
                 const std::vector<InputRange>& ranges);

  /// What one thread needs besides the network's own buffers.
  struct Operands {
    Buffer<std::uint32_t> of[2];
  };
  Operands operands(Index width) const;

  /// Forward through layers [first, last), at least one, from `in`, which is kept; `layer` are two buffers of the
  /// network's width, one of which gets the result, and one of which `in` may be. Returns where the result is.
  float* forward(Index first, Index last, const Block& block, const float* in, float* const (&layer)[2],
                 Operands& operands) const;

  /// Forward through all layers to each row's sum of squares of `in` - out, which are added while in registers. Only
  /// where the last layer is reduced.
  void squared_errors(const Block& block, const float* in, float* const (&layer)[2], Operands& operands,
                      float* row_errors) const;
  bool ends_reduced() const { return dense_.back() != nullptr; }

 private:
  struct Dense;
  struct Destination;
  float* forward(Index first, Index last, const Block& block, const float* in, float* const (&layer)[2],
                 Operands& operands, float* row_errors) const;
  const Dense* dense(Index layer) const { return dense_[static_cast<std::size_t>(layer)].get(); }

  const Network<float>& network_;
  const float* params_;
  std::vector<std::shared_ptr<const Dense>> dense_;  // by layer; null where it stays float32
  Index n_words_ = 0;                                // of the largest operand
};

}  // namespace aefast
