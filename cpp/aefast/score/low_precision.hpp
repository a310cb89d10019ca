/// Scoring in low precision: the products of dense layers with operands of bfloat16 or bytes. Biases, activations, the
/// last output and the error stay float32.
///
/// Blocks are those of panel.hpp, but an *operand*, which a product reads, is packed into words of 32 bits: a word
/// holds two consecutive features of one row as bfloat16, or four as bytes, and word (k, row) is at k * width + row. A
/// layer's weights are packed alike, so that one instruction multiplies and adds two or four pairs per lane.
///
/// bfloat16: numbers are rounded to nearest, ties to even. Products are exact and summed in float32, the odd feature of
/// a word before the even one; denormals count as zero. AVX512-BF16 does the same (Intel, VDPBF16PS).
///
/// Bytes: an input x of a layer is stored as round(x / s_i) + z_i, clipped to 0..255. The step s_i and the zero z_i of
/// each feature follow from its range in training. Weights are multiplied by these steps and rounded to -127..127 steps
/// of their output (Jacob et al. 2018, section 2.1). Sums are exact integers.
///
/// For layers with few inputs, fewer bits gain no time and lose most accuracy: such layers stay bfloat16 instead of
/// bytes, or float32.
///
/// Levels without the instructions compute the same bits, mostly no faster than float32.
#pragma once

#include "aefast/input/read_block.hpp"
#include "aefast/network/network.hpp"

namespace aefast {

enum class Precision { float32, bfloat16, int8 };

/// True if this level has instructions for the precision.
bool is_native(Precision precision);

/// The least and the largest input of a layer, by feature.
struct InputRange {
  std::vector<float> low, high;
};

/// The ranges of the inputs of every dense layer over the rows of `input`, without the `n_beyond` least and the
/// `n_beyond` largest values of each feature.
std::vector<InputRange> input_ranges(const Network<float>& network, const float* params, const Scaling& scaling,
                                     const InputView& input, Index n_beyond);

/// The conversion of float32 features to a layer's operand.
struct Packing {
  Precision precision = Precision::float32;
  // For bytes, by feature: a byte is round(clamp(x * inverse, low, high)) + zero; adding `shift` adds the zero and
  // rounds.
  Buffer<float> inverse, low, high, shift;

  Index words_of_tile() const { return precision == Precision::bfloat16 ? 2 : 1; }
};

/// The dense layers of a network that gain from low precision, with packed weights.
class LowPrecisionNetwork {
 public:
  /// The most rows of a block. 16 registers are too few for three vectors of unpacked rows and their sums.
  static constexpr Index kMostRows = Level::kLowPrecisionVectors * kLanes<float>;

  /// Borrows the network and its parameters. `ranges`, for Precision::int8, has one element for each dense layer.
  LowPrecisionNetwork(const Network<float>& network, const float* params, Precision precision,
                      const std::vector<InputRange>& ranges);

  /// The operands of one thread.
  struct Operands {
    Buffer<std::uint32_t> of[2];
  };
  Operands operands(Index width) const;

  /// Forward through layers [first, last), at least one, from `in`, which is not changed. `layer` are two buffers of
  /// the network's width; `in` may be one of them. Returns the one that has the result.
  float* forward(Index first, Index last, const Block& block, const float* in, float* const (&layer)[2],
                 Operands& operands) const;

  /// Forward through all layers; writes each row's sum of squares of `in` - out, without storing outputs. Only if
  /// `ends_in_low_precision`.
  void squared_errors(const Block& block, const float* in, float* const (&layer)[2], Operands& operands,
                      float* row_errors) const;
  bool ends_in_low_precision() const { return dense_.back() != nullptr; }

 private:
  struct Dense;
  struct Destination;
  float* forward(Index first, Index last, const Block& block, const float* in, float* const (&layer)[2],
                 Operands& operands, float* row_errors) const;
  const Dense* dense(Index layer) const { return dense_[static_cast<std::size_t>(layer)].get(); }

  const Network<float>& network_;
  const float* params_;
  std::vector<std::shared_ptr<const Dense>> dense_;  // by layer; null if the layer stays float32
  Index n_words_ = 0;                                // of the largest operand
};

}  // namespace aefast
