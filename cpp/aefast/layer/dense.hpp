/// A fully connected layer, y = f(W x + b). Its weights are its own, or the transpose of an earlier layer's.
#pragma once

#include "spec.hpp"

namespace aefast {

template <class T>
class Dense final : public Layer<T> {
 public:
  /// The parameters begin at `offset` of the flat vector, which is moved past them. `tied_to`, if not null, has the
  /// weights.
  Dense(Index n_in, Index n_out, const Activation<T>& activation, Index& offset, Dense* tied_to = nullptr);

  static std::unique_ptr<Layer<T>> make(const LayerSpec& spec, const LayerContext<T>& context);

  std::vector<Parameter> parameters() const override;
  Index work() const override { return this->n_in() * this->n_out(); }
  void forward(const Block& block, const T* params, const T* in, T* out) const override;
  void forward_to(const Block& block, const T* params, const T* in, T* out,
                  const OnOutputs<T>& on_outputs) const override;
  bool forward_squares(const Block& block, const T* params, const T* in, T* out, const T* target,
                       T* totals) const override;
  void prepare(Index max_rows, const T* in, const T* delta_out) override;
  void forward_train(const Block& block, const T* params, const T* in, T* out, const Step<T>& step) override;
  /// Forward in training and the squared error in one, without storing outputs, for layers without an activation.
  /// Writes the sum over each panel of outputs to `losses`, one row (width) per panel, `stride` apart; and the
  /// gradient, times `row_scale` (width), to `delta_out`.
  void forward_slopes(const Block& block, const T* params, const T* in, const T* target, const T* row_scale, T* losses,
                      Index stride, T* delta_out, const Step<T>& step);
  void backward(const Block& block, const T* params, const T* in, const T* out, T* delta_out, T* delta_in,
                const Step<T>& step) override;
  Index n_gradient_tasks() const override;
  void gradient(Index task, std::span<const Block> blocks, const Slice& slice, T* gradient,
                const OnGradient& on_gradient) const override;
  bool takes_slices() const override { return true; }

  const Activation<T>& activation() const { return activation_; }
  const Parameter& weights() const { return weights_; }
  const Parameter& bias() const { return bias_; }
  bool is_tied() const { return tied_to_ != nullptr; }
  /// Makes `backward` apply the slope of the layer below, whose outputs are this layer's inputs, in its own product.
  void take_slope_of(Dense& below) {
    below_ = &below;
    below.gives_slope_ = true;
  }
  /// Makes `backward` add `extra`, which has the layout of the outputs, to the gradients by the pre-activation.
  void add_to_backward(const T* extra) { extra_ = extra; }

 private:
  template <class Finish = Nothing, class End = Store>
  void product(bool transposed, const Block& block, const T* params, const T* in, const T* bias, T* out,
               const Finish& finish = {}, const End& end = {}) const;
  void apply_slope(const Block& block, const T* out, Index at, T* delta_out, Index n) const;
  void remember_inputs(const Block& block, const T* in, const Step<T>& step);
  void bias_gradient(std::span<const Block> blocks, bool accumulate, T* gradient) const;
  void add_rows(std::span<const Block> blocks, Index first_row, Index panel, bool is_thin,
                ProductList<T>& products) const;
  bool is_thin_product(Index n_rows) const;
  /// True if the inputs, not the deltas, correspond to columns of the stored weights.
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
  Panels<T> panels_;  // the inputs or the deltas, whichever correspond to columns
  Buffer<T> slopes_;  // of activations whose derivative needs the input
};

}  // namespace aefast
