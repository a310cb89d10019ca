/// Converts Python objects to the engine's plain types and back. Everything here needs the GIL.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "aefast/input/counts.hpp"
#include "aefast/input/read_block.hpp"
#include "aefast/input/statistics.hpp"
#include "aefast/network/network.hpp"
#include "aefast/train/optimizer.hpp"
#include "aefast/train/trainer.hpp"

namespace aefast::python {

namespace py = pybind11;

/// Contiguous arrays of one type.
template <class T>
using Contiguous = py::array_t<T, py::array::c_style>;

/// An array or a list of columns, and the engine's view of it. Arrays whose type or alignment the engine cannot read
/// are copied as float64. Columns must be contiguous and of one type.
class Input {
 public:
  explicit Input(const py::array& array);
  explicit Input(const std::vector<py::array>& columns);

  const InputView& view() const { return view_; }
  Index rows() const { return view_.rows; }
  Index columns() const { return view_.columns; }

 private:
  py::array array_;
  std::vector<py::array> columns_;
  std::vector<const std::byte*> starts_;
  InputView view_;
};

NetworkSpec network_spec(const py::dict& spec);
ObjectiveSpec objective_spec(const py::dict& spec);
OptimizerSpec optimizer_spec(const py::dict& spec);

/// Calls f with a value of the dtype named "float32" or "float64".
template <class F>
decltype(auto) with_dtype(const std::string& name, F&& f) {
  if (name == "float32") return f(float{});
  if (name == "float64") return f(double{});
  throw py::value_error("dtype must be 'float32' or 'float64', not '" + name + "'");
}

using ParameterArrays = std::vector<py::array_t<double, py::array::c_style | py::array::forcecast>>;

/// Checks the shapes of parameter arrays as users see them: weights (n_in, n_out), vectors (n,).
inline ParameterArrays parameter_arrays(const std::vector<Parameter>& parameters, const py::sequence& arrays) {
  if (arrays.size() != parameters.size()) {
    throw py::value_error("expected " + std::to_string(parameters.size()) + " parameter arrays, got " +
                          std::to_string(arrays.size()));
  }
  ParameterArrays found;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto array = ParameterArrays::value_type::ensure(arrays[i]);
    const Parameter& parameter = parameters[i];
    const bool is_vector = !parameter.penalised;
    const bool fits = array && (is_vector ? array.ndim() == 1 && array.shape(0) == parameter.n_inputs
                                          : array.ndim() == 2 && array.shape(0) == parameter.n_inputs &&
                                                array.shape(1) == parameter.n_outputs);
    if (!fits) throw py::value_error("parameter array " + std::to_string(i) + " has the wrong shape");
    found.push_back(array);
  }
  return found;
}

/// Copies arrays to the flat vector of parameters.
template <class T>
void import_parameters(const std::vector<Parameter>& parameters, const ParameterArrays& arrays, T* flat) {
  for (std::size_t i = 0; i < parameters.size(); ++i) import_parameter<T>(parameters[i], arrays[i].data(), flat);
}

/// Copies the flat vector of parameters to arrays.
template <class T>
std::vector<py::array> export_parameters(const std::vector<Parameter>& parameters, const T* flat) {
  std::vector<py::array> arrays;
  for (const Parameter& parameter : parameters) {
    std::vector<py::ssize_t> shape{parameter.n_inputs};
    if (parameter.penalised) shape.push_back(parameter.n_outputs);
    py::array_t<T> array(shape);
    export_parameter<T>(parameter, flat, array.mutable_data());
    arrays.push_back(std::move(array));
  }
  return arrays;
}

void bind_input(py::module_& module);
void bind_trainer(py::module_& module);
void bind_predictor(py::module_& module);
void bind_evidence(py::module_& module);
void bind_clusters(py::module_& module);
void bind_activation(py::module_& module);
void bind_limits(py::module_& module);

}  // namespace aefast::python
