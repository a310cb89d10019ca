// Binds arrays, scaling, statistics and the specifications of networks, objectives and optimisers.
#include "convert.hpp"

namespace aefast::python {
namespace {

std::optional<DType> find_dtype(const py::dtype& dtype) {
  const char order = dtype.byteorder();
  const bool is_native = order == '=' || order == '|' || order == '<';
  if (!is_native) return std::nullopt;
  const auto size = dtype.itemsize();
  switch (dtype.kind()) {
    case 'f':
      return size == 4 ? DType::f32 : size == 8 ? DType::f64 : size == 2 ? std::optional(DType::f16) : std::nullopt;
    case 'i': return size == 8 ? DType::i64 : size == 4 ? DType::i32 : size == 2 ? DType::i16 : DType::i8;
    case 'u': return size == 8 ? DType::u64 : size == 4 ? DType::u32 : size == 2 ? DType::u16 : DType::u8;
    case 'b': return DType::u8;
    default: return std::nullopt;
  }
}

template <class V>
V get(const py::dict& spec, const char* key, V otherwise) {
  return spec.contains(key) ? spec[key].cast<V>() : otherwise;
}

Buffer<double> to_buffer(const Contiguous<double>& array) {
  if (array.ndim() != 1) throw py::value_error("expected a vector");
  Buffer<double> buffer(array.shape(0));
  std::copy_n(array.data(), array.shape(0), buffer.data());
  return buffer;
}

template <class V>
py::array_t<V> to_array(const Buffer<V>& buffer) {
  return py::array_t<V>(buffer.size(), buffer.data());
}

/// A value of a layer's description: text, integers, an integer or another number.
LayerSpec::Value layer_value(const py::handle& value) {
  if (py::isinstance<py::str>(value)) return value.cast<std::string>();
  if (py::isinstance<py::sequence>(value)) return value.cast<std::vector<Index>>();
  if (PyIndex_Check(value.ptr())) return value.cast<Index>();
  return value.cast<double>();
}

}  // namespace

Input::Input(const py::array& array) : array_(array), view_() {
  if (array.ndim() != 2) throw py::value_error("expected a 2-d array");
  auto dtype = find_dtype(array.dtype());
  const bool is_aligned = (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
  const auto size = array.itemsize();
  if (!dtype || !is_aligned || array.strides(0) % size != 0 || array.strides(1) % size != 0) {
    array_ = py::array_t < double, py::array::c_style | py::array::forcecast > ::ensure(array);
    if (!array_) throw py::type_error("expected an array of numbers");
    dtype = DType::f64;
  }
  view_ = {static_cast<const std::byte*>(array_.data()),
           *dtype,
           array_.shape(0),
           array_.shape(1),
           array_.strides(0),
           array_.strides(1)};
}

Input::Input(const std::vector<py::array>& columns) : columns_(columns), view_() {
  if (columns.empty()) throw py::value_error("expected at least one column");
  const py::array& first = columns.front();
  const auto dtype = find_dtype(first.dtype());
  constexpr int kWanted = int{py::array::c_style} | int{py::detail::npy_api::NPY_ARRAY_ALIGNED_};
  for (const py::array& column : columns) {
    const bool fits = dtype && column.ndim() == 1 && (column.flags() & kWanted) == kWanted &&
                      column.dtype().equal(first.dtype()) && column.shape(0) == first.shape(0);
    if (!fits) throw py::value_error("columns must be contiguous vectors of one type and length");
    starts_.push_back(static_cast<const std::byte*>(column.data()));
  }
  view_ = {nullptr, *dtype, first.shape(0), static_cast<Index>(columns.size()), first.itemsize(), 0, starts_.data()};
}

NetworkSpec network_spec(const py::dict& spec) {
  NetworkSpec network;
  network.n_features = spec["n_features"].cast<Index>();
  for (const auto& item : spec["layers"].cast<py::list>()) {
    LayerSpec layer;
    for (const auto& [name, value] : item.cast<py::dict>()) layer.set(name.cast<std::string>(), layer_value(value));
    network.layers.push_back(layer);
  }
  network.n_encoder_layers = spec["n_encoder_layers"].cast<Index>();
  network.groups = get<std::vector<Group>>(spec, "groups", {});
  for (const auto& [begin, end, weight] : get<std::vector<std::tuple<Index, Index, double>>>(spec, "columns", {})) {
    network.columns.push_back({begin, end, weight});
  }
  return network;
}

ObjectiveSpec objective_spec(const py::dict& spec) {
  ObjectiveSpec objective;
  objective.loss = find_loss(get<std::string>(spec, "loss", "mse"));
  objective.l1 = get(spec, "l1", 0.0);
  objective.l2 = get(spec, "l2", 0.0);
  objective.activity_l1 = get(spec, "activity_l1", 0.0);
  objective.activity_l2 = get(spec, "activity_l2", 0.0);
  objective.clip_norm = get(spec, "clip_norm", 0.0);
  objective.scale = get(spec, "scale", 0.0);
  objective.contraction = get(spec, "contraction", 0.0);
  objective.threshold = get(spec, "threshold", 0.0);
  objective.noise.kind = get<std::string>(spec, "noise", "");
  objective.noise.level = get(spec, "noise_level", 0.0);
  objective.noise.lowest = get<std::vector<double>>(spec, "noise_lowest", {});
  objective.noise.highest = get<std::vector<double>>(spec, "noise_highest", {});
  return objective;
}

OptimizerSpec optimizer_spec(const py::dict& spec) {
  OptimizerSpec optimizer;
  optimizer.kind = get(spec, "kind", optimizer.kind);
  optimizer.momentum = get(spec, "momentum", optimizer.momentum);
  optimizer.nesterov = get(spec, "nesterov", optimizer.nesterov);
  optimizer.rho = get(spec, "rho", optimizer.rho);
  optimizer.beta_1 = get(spec, "beta_1", optimizer.beta_1);
  optimizer.beta_2 = get(spec, "beta_2", optimizer.beta_2);
  optimizer.epsilon = get(spec, "epsilon", optimizer.epsilon);
  optimizer.weight_decay = get(spec, "weight_decay", optimizer.weight_decay);
  return optimizer;
}

void bind_input(py::module_& module) {
  py::class_<Scaling, std::shared_ptr<Scaling>>(module, "Scaling")
      .def(py::init([](const Contiguous<double>& shift, const Contiguous<double>& scale, double limit,
                       const std::optional<Contiguous<double>>& fill, bool masks_missing,
                       const std::vector<Index>& n_levels) {
             if (shift.size() != scale.size() || (fill && fill->size() != shift.size())) {
               throw py::value_error("shift, scale and fill differ in length");
             }
             Index n_features = 0;
             for (const Index n : n_levels) n_features += std::max<Index>(n, 1);
             if (!n_levels.empty() && n_features != shift.size()) throw py::value_error("n_levels does not fit shift");
             return std::make_shared<Scaling>(to_buffer(shift), to_buffer(scale), limit,
                                              fill ? to_buffer(*fill) : Buffer<double>(), masks_missing, n_levels);
           }),
           py::arg("shift"), py::arg("scale"), py::arg("limit"), py::arg("fill") = py::none(),
           py::arg("masks_missing") = false, py::arg("n_levels") = std::vector<Index>{});

  module.def(
      "column_statistics",
      [](const py::array& X, const std::optional<Contiguous<std::int64_t>>& rows, int n_threads) {
        const Input input(X);
        const RowList list{0, rows ? rows->data() : nullptr};
        const Index n_rows = rows ? rows->size() : input.rows();
        if (n_rows < 1) throw py::value_error("expected at least one row");
        ColumnStatistics statistics;
        {
          const py::gil_scoped_release release;
          statistics = column_statistics(input.view(), list, n_rows, n_threads);
        }
        py::dict result;
        result["mean"] = to_array(statistics.mean);
        result["std"] = to_array(statistics.deviation);
        result["min"] = to_array(statistics.minimum);
        result["max"] = to_array(statistics.maximum);
        result["n_nonfinite"] = to_array(statistics.n_nonfinite);
        return result;
      },
      py::arg("X"), py::arg("rows").none(true), py::arg("n_threads"));

  const auto counted = [](const Input& input, const Contiguous<double>& limits, int n_threads) {
    if (limits.ndim() != 2 || limits.shape(0) != input.columns()) throw py::value_error("limits must be d rows");
    const Index n_limits = limits.shape(1);
    ColumnCounts counts;
    {
      const py::gil_scoped_release release;
      counts = count_above(input.view(), n_limits, limits.data(), n_threads);
    }
    py::array_t<std::int64_t> above({input.columns(), n_limits}, counts.above.data());
    return py::make_tuple(above, to_array(counts.missing));
  };
  module.def(
      "count_above",
      [counted](const py::array& X, const Contiguous<double>& limits, int n_threads) {
        return counted(Input(X), limits, n_threads);
      },
      py::arg("X"), py::arg("limits"), py::arg("n_threads"));
  module.def(
      "count_above",
      [counted](const std::vector<py::array>& columns, const Contiguous<double>& limits, int n_threads) {
        return counted(Input(columns), limits, n_threads);
      },
      py::arg("columns"), py::arg("limits"), py::arg("n_threads"));
}

}  // namespace aefast::python
