#include "epoch_loop.hpp"

#include <algorithm>
#include <cmath>

namespace aefast {
namespace {

/// Counts the epochs since the last improvement: a decrease of the loss by more than `tol` times its value before.
class Plateau {
 public:
  explicit Plateau(double tol) : tol_(tol) {}

  void add(double loss) {
    // A volatile product is rounded before it is subtracted, as Python's is. Losses can be negative.
    const volatile double least = tol_ * std::abs(reference_);
    if (!std::isfinite(reference_) || loss < reference_ - least) {
      reference_ = loss;
      wait_ = 0;
    } else {
      ++wait_;
    }
  }
  Index wait() const { return wait_; }

 private:
  double tol_, reference_ = std::numeric_limits<double>::infinity();
  Index wait_ = 0;
};

/// True if all parameters are finite. Their padding does not count.
template <class T>
bool are_finite(const Trainer<T>& trainer, const Buffer<T>& params) {
  const auto is_finite = [](T value) { return std::abs(value) <= std::numeric_limits<T>::max(); };
  Index n_finite = 0;
  for (Index i = 0; i < params.size(); ++i) n_finite += is_finite(params[i]);
  if (n_finite == params.size()) return true;
  for (const Parameter& parameter : trainer.network().parameters()) {
    std::vector<T> values(static_cast<std::size_t>(parameter.n_inputs * parameter.n_outputs));
    export_parameter<T>(parameter, params.data(), values.data());
    if (!std::ranges::all_of(values, is_finite)) return false;
  }
  return true;
}

}  // namespace

template <class T>
void run_epochs(Trainer<T>& trainer, const LoopSpec& spec, const std::function<void()>& poll,
                EpochHistory<T>& history) {
  const auto keep = [&] { std::copy_n(trainer.params().data(), trainer.params().size(), history.best.data()); };
  history.best.reset(trainer.params().size());
  keep();
  Plateau plateau(spec.tol);
  EpochSpec epoch = spec.training;
  for (; history.n_passes < spec.max_epochs; ++epoch.epoch) {
    if (spec.stops_early && plateau.wait() >= spec.patience) break;
    ++history.n_passes;
    const double loss = trainer.train_epoch(epoch, poll);
    const double held_out = spec.held_out ? trainer.evaluate(*spec.held_out) : 0;
    double monitored = spec.held_out ? held_out : loss;
    if (spec.penalised) monitored += trainer.mean_penalty(*spec.penalised);
    if (!std::isfinite(loss) || !std::isfinite(monitored) || !are_finite(trainer, trainer.params())) {
      history.has_diverged = true;
      history.last_loss = loss;
      history.last_held_out = held_out;
      return;
    }
    history.losses.push_back(loss);
    if (spec.held_out) history.held_out_losses.push_back(held_out);
    history.monitored.push_back(monitored);
    if (monitored < history.best_loss || !spec.stops_early) keep();
    history.best_loss = std::min(history.best_loss, monitored);
    plateau.add(monitored);
  }
}

template void run_epochs(Trainer<float>&, const LoopSpec&, const std::function<void()>&, EpochHistory<float>&);
template void run_epochs(Trainer<double>&, const LoopSpec&, const std::function<void()>&, EpochHistory<double>&);

}  // namespace aefast
