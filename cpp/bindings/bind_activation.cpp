// Binds the activations, for tests against a reference, and the names of activations and losses.
#include "convert.hpp"

namespace aefast::python {
namespace {

template <class T>
py::tuple activation_values(const std::string& name, const Contiguous<T>& z) {
  const Activation<T> activation = find_activation<T>(name);
  const Index n = z.size(), padded = round_up(n, kLanes<T>);
  Buffer<T> values(padded), slopes(padded);
  std::copy_n(z.data(), n, values.data());
  std::fill_n(slopes.data(), padded, T(1));
  if (activation.keeps_slopes()) {
    activation.forward_keep(values.data(), slopes.data(), padded);
  } else if (activation.forward) {
    activation.forward(values.data(), padded);
    activation.backward(slopes.data(), values.data(), padded);
  }
  return py::make_tuple(py::array_t<T>(n, values.data()), py::array_t<T>(n, slopes.data()));
}

}  // namespace

void bind_activation(py::module_& module) {
  module.def("activation", &activation_values<float>, py::arg("name"), py::arg("z").noconvert());
  module.def("activation", &activation_values<double>, py::arg("name"), py::arg("z").noconvert());
  module.attr("activation_names") = activation_names();
  module.attr("loss_names") = loss_names();
}

}  // namespace aefast::python
