// Binds the trainer of either precision as one class.
#include <chrono>

#include "aefast/train/epoch_loop.hpp"
#include "convert.hpp"

namespace aefast::python {
namespace {

using Clock = std::chrono::steady_clock;

/// A trainer of float or double.
class AnyTrainer {
 public:
  AnyTrainer(const py::dict& network, const py::sequence& parameters, const py::dict& objective,
             const py::dict& optimizer, const std::string& dtype, std::uint64_t seed, int n_threads) {
    with_dtype(dtype, [&]<class T>(T) {
      trainer_ = std::make_unique<Trainer<T>>(network_spec(network), objective_spec(objective),
                                              optimizer_spec(optimizer), seed, n_threads);
    });
    set_parameters(parameters);
  }

  template <class F>
  decltype(auto) visit(F&& f) {
    return std::visit([&](auto& trainer) -> decltype(auto) { return f(*trainer); }, trainer_);
  }

  void set_parameters(const py::sequence& parameters) {
    visit([&](auto& trainer) {
      const auto all = trainer.network().parameters();
      import_parameters(all, parameter_arrays(all, parameters), trainer.params().data());
    });
  }

 private:
  std::variant<std::unique_ptr<Trainer<float>>, std::unique_ptr<Trainer<double>>> trainer_;
};

/// The rows of an epoch and the Python objects whose memory they use.
struct Borrowed {
  Input input;
  std::optional<Input> target;
  EpochSpec epoch;

  Borrowed(AnyTrainer& trainer, const py::array& X, const Scaling& scaling,
           const std::optional<Contiguous<std::int64_t>>& rows, const std::optional<Contiguous<double>>& sample_weight,
           const std::optional<py::array>& target_array)
      : input(X) {
    if (target_array) target.emplace(*target_array);
    const Index d = trainer.visit([](auto& t) { return t.network().n_features(); });
    if (input.columns() != scaling.n_inputs() || scaling.size() != d)
      throw py::value_error("X or scaling has the wrong width");
    if (target && (target->rows() != input.rows() || target->columns() != input.columns())) {
      throw py::value_error("target and X differ in shape");
    }
    if (sample_weight && sample_weight->size() != input.rows())
      throw py::value_error("sample_weight must have one value per row of X");
    if (rows) {
      for (Index i = 0; i < rows->size(); ++i) {
        if (rows->data()[i] < 0 || rows->data()[i] >= input.rows()) throw py::index_error("a row is out of range");
      }
    }
    epoch.input = input.view();
    epoch.target = target ? &target->view() : nullptr;
    epoch.scaling = &scaling;
    epoch.rows = rows ? rows->data() : nullptr;
    epoch.n_rows = rows ? rows->size() : input.rows();
    epoch.sample_weight = sample_weight ? sample_weight->data() : nullptr;
    if (epoch.n_rows < 1) throw py::value_error("expected at least one row");
  }
};

using Rows = std::optional<Contiguous<std::int64_t>>;
using Weights = std::optional<Contiguous<double>>;

/// What the epochs of a training have in common.
struct EpochOptions {
  double learning_rate;
  Index batch_size;
  bool shuffle, drop_last;
  double beta;
  const py::object& corrupt;
};

/// Sets the options; the noise borrows `options.corrupt`.
void apply(const EpochOptions& options, Borrowed& borrowed) {
  EpochSpec& epoch = borrowed.epoch;
  if (options.batch_size < 1) throw py::value_error("batch_size must be at least 1");
  epoch.learning_rate = options.learning_rate;
  epoch.batch_size = options.batch_size;
  epoch.shuffle = options.shuffle;
  epoch.drop_last = options.drop_last;
  epoch.beta = options.beta;
  if (options.corrupt.is_none()) return;
  epoch.add_noise = [&corrupt = options.corrupt, d = borrowed.epoch.scaling->size()](double* noisy_rows, Index n) {
    const py::gil_scoped_acquire acquire;
    const py::array_t<double> batch({n, d}, noisy_rows);
    const auto noisy = Contiguous<double>::ensure(corrupt(batch));
    if (!noisy || noisy.ndim() != 2 || noisy.shape(0) != n || noisy.shape(1) != d) {
      throw py::value_error("noise must return an array of the batch's shape");
    }
    std::copy_n(noisy.data(), n * d, noisy_rows);
  };
}

/// A function that calls `poll` about ten times a second; empty if it is None.
std::function<void()> sometimes(const py::object& poll) {
  if (poll.is_none()) return {};
  return [&poll, next = Clock::now()]() mutable {
    if (Clock::now() < next) return;
    const py::gil_scoped_acquire acquire;
    poll();
    next = Clock::now() + std::chrono::milliseconds(100);
  };
}

double train_epoch(AnyTrainer& trainer, const py::array& X, const Scaling& scaling, const Rows& rows,
                   const Weights& sample_weight, const std::optional<py::array>& target, std::uint64_t epoch,
                   double learning_rate, Index batch_size, bool shuffle, bool drop_last, double beta,
                   const py::object& corrupt, const py::object& poll) {
  Borrowed borrowed(trainer, X, scaling, rows, sample_weight, target);
  apply({learning_rate, batch_size, shuffle, drop_last, beta, corrupt}, borrowed);
  borrowed.epoch.epoch = epoch;
  const std::function<void()> poll_sometimes = sometimes(poll);
  const py::gil_scoped_release release;
  return trainer.visit([&](auto& t) { return t.train_epoch(borrowed.epoch, poll_sometimes); });
}

/// Writes what the epochs have led to into a dict.
template <class T>
void describe(const Trainer<T>& trainer, const EpochHistory<T>& history, py::dict& to) {
  to["losses"] = history.losses;
  to["held_out_losses"] = history.held_out_losses;
  to["monitored"] = history.monitored;
  to["best"] = export_parameters(trainer.network().parameters(), history.best.data());
  to["best_loss"] = history.best_loss;
  to["n_passes"] = history.n_passes;
  to["diverged"] = py::none();
  if (history.has_diverged) to["diverged"] = py::make_tuple(history.last_loss, history.last_held_out);
}

void run_epochs(AnyTrainer& trainer, py::dict history, const py::array& X, const Scaling& scaling, const Rows& rows,
                const Weights& sample_weight, const std::optional<py::array>& target, const Rows& held_out,
                const Rows& penalised, Index max_epochs, std::uint64_t first_pass, double learning_rate,
                Index batch_size, bool shuffle, bool drop_last, double beta, bool stops_early, Index patience,
                double tol, const py::object& corrupt, const py::object& poll) {
  Borrowed training(trainer, X, scaling, rows, sample_weight, target);
  apply({learning_rate, batch_size, shuffle, drop_last, beta, corrupt}, training);
  training.epoch.epoch = first_pass;
  LoopSpec loop{training.epoch, nullptr, nullptr, max_epochs, stops_early, patience, tol};
  std::optional<Borrowed> monitored, on_code;
  const auto borrow = [&](const Rows& which, std::optional<Borrowed>& borrowed) -> const EpochSpec* {
    if (!which) return nullptr;
    borrowed.emplace(trainer, X, scaling, which, sample_weight, target);
    borrowed->epoch.beta = beta;
    return &borrowed->epoch;
  };
  loop.held_out = borrow(held_out, monitored);
  loop.penalised = borrow(penalised, on_code);
  const std::function<void()> poll_sometimes = sometimes(poll);
  trainer.visit([&]<class T>(Trainer<T>& t) {
    EpochHistory<T> found;
    try {
      const py::gil_scoped_release release;
      aefast::run_epochs(t, loop, poll_sometimes, found);
    } catch (...) {
      describe(t, found, history);
      throw;
    }
    describe(t, found, history);
  });
}

double evaluate(AnyTrainer& trainer, const py::array& X, const Scaling& scaling, const Rows& rows,
                const Weights& sample_weight, const std::optional<py::array>& target, double beta) {
  Borrowed borrowed(trainer, X, scaling, rows, sample_weight, target);
  borrowed.epoch.beta = beta;
  const py::gil_scoped_release release;
  return trainer.visit([&](auto& t) { return t.evaluate(borrowed.epoch); });
}

double mean_penalty(AnyTrainer& trainer, const py::array& X, const Scaling& scaling, const Rows& rows,
                    const Weights& sample_weight) {
  Borrowed borrowed(trainer, X, scaling, rows, sample_weight, std::nullopt);
  const py::gil_scoped_release release;
  return trainer.visit([&](auto& t) { return t.mean_penalty(borrowed.epoch); });
}

py::array penalties(AnyTrainer& trainer, const py::array& X, const Scaling& scaling, const Rows& rows) {
  Borrowed borrowed(trainer, X, scaling, rows, std::nullopt, std::nullopt);
  return trainer.visit([&]<class T>(Trainer<T>& t) -> py::array {
    py::array_t<T> result(borrowed.epoch.n_rows);
    T* to = result.mutable_data();
    {
      const py::gil_scoped_release release;
      t.penalties(borrowed.epoch, to);
    }
    return result;
  });
}

py::tuple gradient(AnyTrainer& trainer, const py::array& X, const Scaling& scaling, const Weights& sample_weight,
                   const std::optional<py::array>& target, std::uint64_t epoch, double beta) {
  Borrowed borrowed(trainer, X, scaling, std::nullopt, sample_weight, target);
  borrowed.epoch.epoch = epoch;
  borrowed.epoch.beta = beta;
  return trainer.visit([&](auto& t) {
    double objective = 0;
    {
      const py::gil_scoped_release release;
      objective = t.differentiate(borrowed.epoch);
    }
    return py::make_tuple(objective, export_parameters(t.network().parameters(), t.gradient().data()));
  });
}

py::tuple optimizer_state(AnyTrainer& trainer) {
  return trainer.visit([](auto& t) {
    py::list slots;
    for (auto* buffer : {&t.optimizer().first(), &t.optimizer().second()}) {
      if (buffer->size() == 0) continue;
      for (auto& array : export_parameters(t.network().parameters(), buffer->data())) slots.append(array);
    }
    return py::make_tuple(t.optimizer().step(), slots);
  });
}

void set_optimizer_state(AnyTrainer& trainer, Index step, const py::list& slots) {
  trainer.visit([&](auto& t) {
    t.optimizer().set_step(step);
    const auto parameters = t.network().parameters();
    std::size_t first = 0;
    for (auto* buffer : {&t.optimizer().first(), &t.optimizer().second()}) {
      if (buffer->size() == 0) continue;
      py::list slot;
      for (std::size_t i = 0; i < parameters.size() && first + i < slots.size(); ++i) slot.append(slots[first + i]);
      import_parameters(parameters, parameter_arrays(parameters, slot), buffer->data());
      first += parameters.size();
    }
    if (first != slots.size()) throw py::value_error("the state belongs to another kind of optimizer");
  });
}

}  // namespace

void bind_trainer(py::module_& module) {
  const py::none none;
  py::class_<TeamChoice>(module, "TeamChoice")
      .def(py::init<>())
      .def_property_readonly("is_alone", &TeamChoice::is_alone)
      .def("add", &TeamChoice::add, py::arg("seconds"), py::arg("n_rows"));
  py::class_<AnyTrainer>(module, "Trainer")
      .def(py::init<const py::dict&, const py::sequence&, const py::dict&, const py::dict&, const std::string&,
                    std::uint64_t, int>(),
           py::arg("network"), py::arg("parameters"), py::arg("objective"), py::arg("optimizer"), py::arg("dtype"),
           py::arg("seed"), py::arg("n_threads"))
      .def("train_epoch", &train_epoch, py::arg("X"), py::arg("scaling"), py::arg("rows") = none,
           py::arg("sample_weight") = none, py::arg("target") = none, py::kw_only(), py::arg("epoch"),
           py::arg("learning_rate"), py::arg("batch_size"), py::arg("shuffle") = true, py::arg("drop_last") = false,
           py::arg("beta") = 1.0, py::arg("corrupt") = none, py::arg("poll") = none)
      .def("evaluate", &evaluate, py::arg("X"), py::arg("scaling"), py::arg("rows") = none,
           py::arg("sample_weight") = none, py::arg("target") = none, py::arg("beta") = 1.0)
      .def("run_epochs", &run_epochs, py::arg("history"), py::arg("X"), py::arg("scaling"), py::arg("rows") = none,
           py::arg("sample_weight") = none, py::arg("target") = none, py::kw_only(), py::arg("held_out") = none,
           py::arg("penalised") = none, py::arg("max_epochs"), py::arg("first_pass"), py::arg("learning_rate"),
           py::arg("batch_size"), py::arg("shuffle") = true, py::arg("drop_last") = false, py::arg("beta") = 1.0,
           py::arg("stops_early"), py::arg("patience"), py::arg("tol"), py::arg("corrupt") = none,
           py::arg("poll") = none)
      .def("mean_penalty", &mean_penalty, py::arg("X"), py::arg("scaling"), py::arg("rows") = none,
           py::arg("sample_weight") = none)
      .def("penalties", &penalties, py::arg("X"), py::arg("scaling"), py::arg("rows") = none)
      .def("gradient", &gradient, py::arg("X"), py::arg("scaling"), py::arg("sample_weight") = none,
           py::arg("target") = none, py::kw_only(), py::arg("epoch") = 0, py::arg("beta") = 1.0)
      .def("parameters",
           [](AnyTrainer& trainer) {
             return trainer.visit(
                 [](auto& t) { return export_parameters(t.network().parameters(), t.params().data()); });
           })
      .def("set_parameters", &AnyTrainer::set_parameters, py::arg("parameters"))
      .def("optimizer_state", &optimizer_state)
      .def("set_optimizer_state", &set_optimizer_state, py::arg("step"), py::arg("slots"));
}

}  // namespace aefast::python
