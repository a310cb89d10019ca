// Binds scoring, encoding and decoding with a trained network, of either precision.
#include <cmath>

#include "aefast/score/scorer.hpp"
#include "convert.hpp"

namespace aefast::python {
namespace {

/// The smallest and largest inputs (2, n_in) of each dense layer.
using Ranges = std::optional<std::vector<Contiguous<float>>>;

std::vector<InputRange> as_ranges(const std::vector<Contiguous<float>>& arrays) {
  std::vector<InputRange> ranges;
  for (const auto& array : arrays) {
    if (array.ndim() != 2 || array.shape(0) != 2) throw py::value_error("a range must be (2, n_in)");
    const float *low = array.data(), *high = low + array.shape(1);
    ranges.push_back({{low, high}, {high, high + array.shape(1)}});
  }
  return ranges;
}

Precision find_precision(const std::string& name) {
  if (name == "float32") return Precision::float32;
  if (name == "bfloat16") return Precision::bfloat16;
  if (name == "int8") return Precision::int8;
  throw py::value_error("unknown precision '" + name + "'");
}

/// A network with its parameters and scaling in one precision, and the scorer that reads them.
template <class T>
struct Model {
  Network<T> network;
  Buffer<T> params;
  std::shared_ptr<const Scaling> scaling;
  int n_threads;
  std::unique_ptr<const LowPrecisionNetwork> low_precision;
  std::optional<Scorer<T>> scorer;
  std::optional<Scorer<T>> kept[2];  // for the metrics that compare with arrays, if these are kept

  Model(const py::dict& spec, const py::sequence& parameters, std::shared_ptr<const Scaling> scaling_, int n_threads_)
      : network(network_spec(spec)), scaling(std::move(scaling_)), n_threads(n_threads_) {
    const auto all = network.parameters();
    const ParameterArrays arrays = parameter_arrays(all, parameters);
    params.reset(network.n_parameters());  // as large as the arrays, whose shapes are checked
    import_parameters(all, arrays, params.data());
    if (scaling->size() != network.n_features()) throw py::value_error("scaling has the wrong width");
    make_scorer();
  }

  void make_scorer() {
    scorer.emplace(network, params.data(), *scaling, n_threads, low_precision.get());
    for (auto& each : kept) each.reset();
  }

  /// True if scoring takes no longer than it may take to get the GIL back.
  bool is_quick(Index n_rows) const {
    constexpr Index kWork = 200'000;  // multiply-adds
    return n_rows <= kWork / (network.work() + 8 * network.n_features());
  }
};

/// The arrays that the metrics "mahalanobis" and "calibrated" need: a `Whitening` or `Distances` of core.pyi.
using Arrays = std::optional<std::vector<Contiguous<double>>>;

void check_shape(const Contiguous<double>& array, const std::string& name, const std::vector<py::ssize_t>& shape) {
  if (!std::equal(array.shape(), array.shape() + array.ndim(), shape.begin(), shape.end())) {
    throw py::value_error(name + " has the wrong shape");
  }
}

template <class T>
void set_whitening(Scorer<T>& scorer, const std::vector<Contiguous<double>>& arrays, Index d, Index q) {
  if (arrays.size() != 4) throw py::value_error("whitening has four arrays");
  check_shape(arrays[0], "the centre of whitening", {d + q});
  check_shape(arrays[1], "the matrix of whitening", {d + q, d + q});
  check_shape(arrays[2], "the usual row of whitening", {d});
  check_shape(arrays[3], "the deviation of whitening", {d});
  scorer.set_whitening(arrays[0].data(), arrays[1].data(), arrays[2].data(), arrays[3].data());
}

template <class T>
void set_distances(Scorer<T>& scorer, const std::vector<Contiguous<double>>& arrays, Index d, Index q) {
  static const char* const kNames[] = {"elements", "centre",      "matrix", "rest", "back", "centres", "span", "means",
                                       "spreads",  "calibration", "low",    "high", "unit", "top",     "slope"};
  if (arrays.size() != std::size(kNames)) throw py::value_error("distances have fifteen arrays");
  const auto length = [&](std::size_t i) { return arrays[i].ndim() > 0 ? arrays[i].shape(0) : -1; };
  const Index m = length(0), p = length(1), n_directions = length(2), n_centres = length(5), n_means = length(7);
  const bool is_low_rank = length(3) > 0;
  if (m < 1 || m > d || (p != m && p != m + q) || n_directions < 0 || n_centres < 3 || n_means < 1) {
    throw py::value_error("distances have the wrong shape");
  }
  const Index n_rest = is_low_rank ? p : 0, n_back = is_low_rank ? n_directions : 0;
  if (!is_low_rank && n_directions != p) throw py::value_error("the matrix of distances has the wrong shape");
  const std::vector<py::ssize_t> shapes[] = {{m},      {p},          {n_directions, p},
                                             {n_rest}, {n_back},     {n_centres, p},
                                             {m},      {n_means, m}, {n_means},
                                             {3, 2},   {m},          {m},
                                             {m},      {1},          {1}};
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    check_shape(arrays[i], std::string("the array '") + kNames[i] + "' of distances", shapes[i]);
  }
  std::vector<Index> elements;
  for (Index j = 0; j < m; ++j) {
    const double element = arrays[0].data()[j];
    const Index before = elements.empty() ? -1 : elements.back();
    if (!(element > static_cast<double>(before) && element < static_cast<double>(d))) {
      throw py::value_error("the elements of distances must ascend");
    }
    elements.push_back(static_cast<Index>(element));
  }
  const auto at = [&](std::size_t i) { return arrays[i].data(); };
  scorer.set_distances({std::move(elements), p, n_directions, n_centres, n_means, at(1), at(2),
                        is_low_rank ? at(3) : nullptr, is_low_rank ? at(4) : nullptr, at(5), at(6), at(7), at(8), at(9),
                        at(10), at(11), at(12), *at(13), *at(14)});
}

/// A metric that compares a row with the arrays that `set` gives a scorer.
struct ArrayMetric {
  std::string_view name, arrays;
};
constexpr ArrayMetric kArrayMetrics[] = {{"mahalanobis", "whitening"}, {"calibrated", "distances"}};

/// The place of a metric in kArrayMetrics, or -1.
int array_metric(const std::string& metric) {
  for (std::size_t i = 0; i < std::size(kArrayMetrics); ++i) {
    if (kArrayMetrics[i].name == metric) return static_cast<int>(i);
  }
  return -1;
}

template <class T>
void set_arrays(Scorer<T>& scorer, int kind, const std::vector<Contiguous<double>>& arrays, Index d, Index q) {
  if (kind == 0) set_whitening(scorer, arrays, d, q);
  else set_distances(scorer, arrays, d, q);
}

using Shape = std::pair<Index, Index>;

/// Stands for a metric that needs no arrays.
const std::string kPlain;

class Predictor {
 public:
  Predictor(const py::dict& network, const py::sequence& parameters, const std::shared_ptr<Scaling>& scaling,
            const std::string& dtype, int n_threads) {
    with_dtype(dtype,
               [&]<class T>(T) { model_ = std::make_unique<Model<T>>(network, parameters, scaling, n_threads); });
  }

  void reduce(const std::string& name, const Ranges& ranges) {
    const Precision precision = find_precision(name);
    if (precision == Precision::float32) return;
    auto& model = single();
    if ((precision == Precision::int8) != ranges.has_value())
      throw py::value_error("int8 requires ranges, bfloat16 does not take them");
    model.low_precision = std::make_unique<const LowPrecisionNetwork>(
        model.network, model.params.data(), precision, as_ranges(ranges.value_or(std::vector<Contiguous<float>>{})));
    model.make_scorer();
  }

  /// Keeps the arrays of a metric for calls that do not give them.
  void keep(const std::string& metric, const Arrays& arrays) {
    const int kind = array_metric(metric);
    if (!arrays || kind < 0) throw py::value_error("expected the arrays of a metric");
    std::visit(
        [&]<class T>(const std::unique_ptr<Model<T>>& model) {
          auto& kept = model->kept[kind];
          kept.emplace(model->network, model->params.data(), *model->scaling, model->n_threads,
                       model->low_precision.get());
          set_arrays(*kept, kind, *arrays, model->network.n_features(), model->network.code_size());
        },
        model_);
  }

  std::vector<py::array> ranges(const py::array& X, Index n_beyond) {
    const auto& model = single();
    const Input input(X);
    if (input.columns() != model.scaling->n_inputs()) throw py::value_error("X has the wrong width");
    std::vector<py::array> arrays;
    for (const InputRange& range :
         input_ranges(model.network, model.params.data(), *model.scaling, input.view(), n_beyond)) {
      py::array_t<float> array({py::ssize_t{2}, static_cast<py::ssize_t>(range.low.size())});
      std::copy(range.low.begin(), range.low.end(), array.mutable_data());
      std::copy(range.high.begin(), range.high.end(), array.mutable_data() + range.low.size());
      arrays.push_back(std::move(array));
    }
    return arrays;
  }

  /// Calls run(scorer, input, to) on a new array, of shape (n, columns), or (n,) if `columns` is 0. Releases the GIL
  /// unless the call is quick. For a metric that compares with arrays, the scorer has those given or kept.
  template <class X, class Columns, class Run>
  py::array read(const X& rows, const std::string& metric, const Arrays& arrays, Columns&& columns, Run&& run) {
    const int kind = array_metric(metric);
    return std::visit(
        [&]<class T>(const std::unique_ptr<Model<T>>& model) -> py::array {
          if (arrays ? kind < 0 : kind >= 0 && !model->kept[kind]) {
            const ArrayMetric& of = kArrayMetrics[std::max(kind, 0)];
            throw py::value_error("the metric '" + std::string(of.name) + "' requires " + std::string(of.arrays) +
                                  ", other metrics do not take it");
          }
          const Input input(rows);
          const auto [n_in, n_out] = columns(*model);
          if (input.columns() != n_in) throw py::value_error("X has the wrong width");
          std::optional<Scorer<T>> given;
          if (arrays) {
            given.emplace(model->network, model->params.data(), *model->scaling, model->n_threads,
                          model->low_precision.get());
            set_arrays(*given, kind, *arrays, model->network.n_features(), model->network.code_size());
          }
          const Scorer<T>& scorer = given ? *given : kind >= 0 ? *model->kept[kind] : *model->scorer;
          py::array_t<T> result = n_out > 0 ? py::array_t<T>({input.rows(), n_out}) : py::array_t<T>(input.rows());
          T* to = result.mutable_data();
          {
            std::optional<py::gil_scoped_release> release;
            if (!model->is_quick(input.rows())) release.emplace();
            run(scorer, input.view(), to);
          }
          return result;
        },
        model_);
  }

  /// The error of each row of an array or of a list of columns.
  template <class X>
  py::array errors(const X& rows, const std::string& metric, const Arrays& arrays) {
    const Loss loss = find_loss(metric);
    return read(
        rows, metric, arrays, [&](const auto& model) { return Shape{model.scaling->n_inputs(), 0}; },
        [&](const auto& scorer, const InputView& input, auto* to) { scorer.errors(input, input.rows, loss, to); });
  }

  /// The error of each row of an array, or None if one of them is not finite.
  py::object finite_errors(const py::array& rows, const std::string& metric) {
    const Loss loss = find_loss(metric);
    bool is_finite = true;
    py::array errors = read(
        rows, metric, std::nullopt, [&](const auto& model) { return Shape{model.scaling->n_inputs(), 0}; },
        [&](const auto& scorer, const InputView& input, auto* to) {
          scorer.errors(input, input.rows, loss, to);
          is_finite = std::all_of(to, to + input.rows, [](auto error) { return std::isfinite(error); });
        });
    if (!is_finite) return py::none();
    return errors;
  }

  py::array residuals_and_codes(const py::array& X, const Contiguous<double>& scaled) {
    return std::visit(
        [&]<class T>(const std::unique_ptr<Model<T>>& model) -> py::array {
          const Input input(X);
          const Index d = model->network.n_features();
          if (input.columns() != model->scaling->n_inputs()) throw py::value_error("X has the wrong width");
          if (scaled.ndim() != 2 || scaled.shape(0) != input.rows() || scaled.shape(1) != d) {
            throw py::value_error("scaled must have a row for each of X");
          }
          Contiguous<double> result({input.rows(), d + model->network.code_size()});
          double* to = result.mutable_data();
          {
            const py::gil_scoped_release release;
            model->scorer->residuals_and_codes(input.view(), input.rows(), scaled.data(), to);
          }
          return result;
        },
        model_);
  }

  py::tuple reasons(const py::array& X, const std::string& metric, const Arrays& arrays, Index top) {
    const Loss loss = find_loss(metric);
    return std::visit(
        [&]<class T>(const std::unique_ptr<Model<T>>& model) -> py::tuple {
          const OutputStage<T>& stage = model->network.output();
          if (top < 1 || top > std::min(stage.n_terms(), Scorer<T>::kMostReasons)) {
            throw py::value_error("top is out of range");
          }
          const bool is_mixed = !stage.columns().empty();
          std::vector<py::ssize_t> shape{X.shape(0), top};
          py::array_t<std::int32_t> features(shape);
          py::array_t<T> shares(shape);
          py::array_t<double> values(is_mixed ? std::vector<py::ssize_t>{0, top} : shape);
          if (is_mixed) shape.push_back(stage.n_expected());
          py::array_t<T> expected(shape);
          typename Scorer<T>::Reasons to{top,
                                         nullptr,
                                         features.mutable_data(),
                                         shares.mutable_data(),
                                         expected.mutable_data(),
                                         is_mixed ? nullptr : values.mutable_data()};
          py::array errors = read(
              X, metric, arrays, [&](const auto& of) { return Shape{of.scaling->n_inputs(), 0}; },
              [&]<class U>(const Scorer<U>& scorer, const InputView& input, U* errors_to) {
                if constexpr (std::is_same_v<T, U>) {
                  to.errors = errors_to;
                  scorer.reasons(input, input.rows, loss, to);
                }
              });
          return py::make_tuple(errors, features, shares, expected, values);
        },
        model_);
  }

 private:
  Model<float>& single() {
    auto* model = std::get_if<std::unique_ptr<Model<float>>>(&model_);
    if (!model) throw py::value_error("bfloat16 and int8 require dtype float32");
    return **model;
  }

  std::variant<std::unique_ptr<Model<float>>, std::unique_ptr<Model<double>>> model_;
};

}  // namespace

void bind_predictor(py::module_& module) {
  const py::none none;
  py::class_<Predictor>(module, "Predictor")
      .def(py::init<const py::dict&, const py::sequence&, const std::shared_ptr<Scaling>&, const std::string&, int>(),
           py::arg("network"), py::arg("parameters"), py::arg("scaling"), py::arg("dtype"), py::arg("n_threads"))
      .def("reduce", &Predictor::reduce, py::arg("precision"), py::arg("ranges") = none)
      .def(
          "set_whitening", [](Predictor& self, const Arrays& arrays) { self.keep("mahalanobis", arrays); },
          py::arg("whitening"))
      .def(
          "set_distances", [](Predictor& self, const Arrays& arrays) { self.keep("calibrated", arrays); },
          py::arg("distances"))
      .def("finite_errors", &Predictor::finite_errors, py::arg("X"), py::arg("metric"))
      .def("input_ranges", &Predictor::ranges, py::arg("X"), py::arg("n_beyond"))
      .def("errors", &Predictor::errors<py::array>, py::arg("X"), py::arg("metric"), py::arg("arrays") = none)
      .def("errors", &Predictor::errors<std::vector<py::array>>, py::arg("X"), py::arg("metric"),
           py::arg("arrays") = none)
      .def(
          "feature_errors",
          [](Predictor& self, const py::array& X, const std::string& metric, const Arrays& arrays) {
            const Loss loss = find_loss(metric);
            return self.read(
                X, metric, arrays,
                [&](const auto& model) { return Shape{model.scaling->n_inputs(), model.network.n_features()}; },
                [&](const auto& scorer, const InputView& input, auto* to) {
                  scorer.feature_errors(input, input.rows, loss, to);
                });
          },
          py::arg("X"), py::arg("metric"), py::arg("arrays") = none)
      .def(
          "parts",
          [](Predictor& self, const py::array& X, const Arrays& distances) {
            return self.read(
                X, "calibrated", distances, [](const auto& model) { return Shape{model.scaling->n_inputs(), 4}; },
                [](const auto& scorer, const InputView& input, auto* to) { scorer.parts(input, input.rows, to); });
          },
          py::arg("X"), py::arg("distances") = none)
      .def("reasons", &Predictor::reasons, py::arg("X"), py::arg("metric"), py::arg("arrays") = none, py::kw_only(),
           py::arg("top"))
      .def(
          "losses",
          [](Predictor& self, const py::array& X, const std::string& loss, double scale, double beta,
             std::uint64_t seed) {
            const Loss found = find_loss(loss);
            return self.read(
                X, kPlain, std::nullopt, [](const auto& model) { return Shape{model.scaling->n_inputs(), 0}; },
                [&]<class T>(const auto& scorer, const InputView& input, T* to) {
                  scorer.losses(input, nullptr, {}, input.rows, found, static_cast<T>(scale), static_cast<T>(beta),
                                seed, to);
                });
          },
          py::arg("X"), py::arg("loss"), py::kw_only(), py::arg("scale"), py::arg("beta"), py::arg("seed"))
      .def(
          "encode",
          [](Predictor& self, const py::array& X) {
            return self.read(
                X, kPlain, std::nullopt,
                [](const auto& model) { return Shape{model.scaling->n_inputs(), model.network.code_size()}; },
                [](const auto& scorer, const InputView& input, auto* to) { scorer.encode(input, input.rows, to); });
          },
          py::arg("X"))
      .def("residuals_and_codes", &Predictor::residuals_and_codes, py::arg("X"), py::arg("scaled"))
      .def(
          "decode",
          [](Predictor& self, const py::array& Z) {
            return self.read(
                Z, kPlain, std::nullopt,
                [](const auto& model) { return Shape{model.network.code_size(), model.network.n_features()}; },
                [](const auto& scorer, const InputView& codes, auto* to) { scorer.decode(codes, codes.rows, to); });
          },
          py::arg("Z"))
      .def(
          "reconstruct",
          [](Predictor& self, const py::array& X, bool scaled) {
            return self.read(
                X, kPlain, std::nullopt,
                [](const auto& model) { return Shape{model.scaling->n_inputs(), model.network.n_features()}; },
                [&](const auto& scorer, const InputView& input, auto* to) {
                  scorer.reconstruct(input, input.rows, !scaled, to);
                });
          },
          py::arg("X"), py::arg("scaled") = false);
}

}  // namespace aefast::python
