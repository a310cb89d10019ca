/// A fully connected layer, y = f(W x + b), with weights of its own or those of an earlier layer transposed.
#pragma once

#include "spec.hpp"

namespace aefast {

template <class T>
class Dense final : public Layer<T> {
 public:
  /// Parameters are taken from `offset` of the flat vector on, which is moved past them. `tied_to` lends its weights.
  Dense(Index n_in, Index n_out, const Activation<T>& activation, Index& offset, Dense* tied_to = nullptr);

  static std::unique_ptr<Layer<T>> make(const LayerSpec& spec, const LayerContext<T>& context);

  std::vector<Parameter> parameters() const override;
  Index work() const override { return this->n_in() * this->n_out(); }
  void forward(const Block& block, const T* params, const T* in, T* out) const override;
  void forward_to(const Block& block, const T* params, const T* in, T* out, const OnOutputs<T>& take) const override;
  bool forward_squares(const Block& block, const T* params, const T* in, T* out, const T* target,
                       T* totals) const override;
  void prepare(Index max_rows, const T* in, const T* delta_out) override;
  void forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>& step) override;
  /// Forward and the loss in one, where that is the squared difference of outputs and `target`: leaves the sum over
  /// each panel of outputs in `losses`, a row (width) a panel `stride` apart, and the gradient, times `row_scale`
  /// (width), in `delta_out`. For layers without an activation.
  void forward_slopes(const Block& block, const T* params, const T* in, const T* target, const T* row_scale, T* losses,
                      Index stride, T* delta_out, const Step<T>& step);
  void backward(const Block& block, const T* params, const T* in, const T* out, T* delta_out, T* delta_in,
                const Step<T>& step) override;
  Index n_gradient_tasks() const override;
  void gradient(Index task, std::span<const Block> blocks, const Slice& slice, T* gradient,
                const OnGradient& finished) const override;
  bool takes_slices() const override { return true; }

  const Activation<T>& activation() const { return activation_; }
  const Parameter& weights() const { return weights_; }
  const Parameter& bias() const { return bias_; }
  bool is_tied() const { return tied_to_ != nullptr; }
  /// `backward` then also does what that of the layer below, whose outputs are this one's inputs, begins with.
  void take_slope_of(Dense& below) {
    below_ = &below;
    below.gives_slope_ = true;
  }
  /// Lends an array, laid out as the outputs, whose elements `backward` adds to the gradients by the pre-activation.
  void add_to_backward(const T* extra) { extra_ = extra; }

 private:
  template <class Finish = Nothing, class End = Store>
  void product(bool transposed, const Block& block, const T* params, const T* in, const T* bias, T* out,
               const Finish& finish = {}, const End& end = {}) const;
  void apply_slope(const Block& block, const T* out, Index at, T* delta_out, Index n) const;
  void remember_inputs(const Block& block, const T* in, const Step<T>& step);
  void bias_gradient(std::span<const Block> blocks, bool accumulate, T* gradient) const;
  void add_rows(std::span<const Block> blocks, Index first_row, Index strip, bool is_lanes,
                SegmentList<T>& segments) const;
  bool sums_lanes(Index n_rows) const;
  /// Whether the inputs, rather than the deltas, go along the columns of the stored weights.
  bool inputs_are_columns() const { return is_tied() == weights_.flipped; }

  Activation<T> activation_;
  Parameter weights_;
  Parameter bias_;
  const Dense* tied_to_;
  Dense* tied_by_ = nullptr;
  const Dense* below_ = nullptr;
  bool gives_slope_ = false;

  const T* in_ = nullptr;
  const T* delta_ = nullptr;
  const T* extra_ = nullptr;
  Strips<T> strips_;  // the inputs or the deltas, whichever are columns
  Buffer<T> slopes_;  // of activations whose derivative the output does not give
};

}  // namespace aefast
