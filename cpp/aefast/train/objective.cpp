#include "objective.hpp"

#include <stdexcept>

namespace aefast {

template <class T>
Objective<T>::Objective(const Network<T>& network, const ObjectiveSpec& spec)
    : loss(spec.loss),
      threshold(static_cast<T>(spec.threshold)),
      loss_scale(static_cast<T>(spec.scale > 0 ? spec.scale : 1 / static_cast<double>(network.output().n_terms()))),
      is_mean(spec.scale == 0),
      clip_norm(spec.clip_norm),
      weight_penalty{static_cast<T>(spec.l1), static_cast<T>(spec.l2)},
      code_penalty{static_cast<T>(spec.activity_l1), static_cast<T>(spec.activity_l2)} {
  if (spec.contraction > 0) {
    std::vector<Dense<T>*> encoder;
    for (Index i = 0; i < network.n_encoder(); ++i) {
      encoder.push_back(dynamic_cast<Dense<T>*>(network.layers()[static_cast<std::size_t>(i)].get()));
      if (!encoder.back()) throw std::invalid_argument("contraction needs an encoder of plain dense layers");
    }
    contraction.emplace(encoder, spec.contraction);
  }
  auto* last = dynamic_cast<Dense<T>*>(network.layers().back().get());
  const bool is_plain = is<SquaredError>(spec.loss) && spec.threshold == 0 && network.output().is_identity();
  if (is_plain && last && !last->activation().forward) fused_layer = last;
}

template <class T>
void Objective<T>::add_penalty_gradient(Index offset, Index count, bool is_weight, const T* params, T* gradient) const {
  if (is_weight && weight_penalty) {
    weight_penalty.add_gradient(params + offset, count, T(1), gradient + offset);
  }
  if (is_weight && contraction) {
    map(
        gradient + offset, count, [](const Vec<T>& g, const Vec<T>& c) { return g + c; }, gradient + offset,
        contraction_gradient + offset);
  }
}

template <class T>
void Objective<T>::add_penalties(const Network<T>& network, const T* params, double& total) const {
  for (const Parameter& parameter : network.parameters()) {
    if (parameter.penalised) {
      total += weight_penalty.value(params + parameter.offset, parameter.template size<T>());
    }
  }
  for (const auto& each : network.layers()) total += each->batch_penalty();
}

template struct Objective<float>;
template struct Objective<double>;

}  // namespace aefast
