// Binds measurements of the processor's limits.
#include "aefast/simd/machine_limits.hpp"

#include "convert.hpp"

namespace aefast::python {

void bind_limits(py::module_& module) {
  module.def("multiply_adds", &multiply_adds, py::arg("n"), py::call_guard<py::gil_scoped_release>());
  module.def(
      "read_memory",
      [](const Contiguous<float>& values) {
        const float* from = values.data();
        const Index n = values.size();
        const py::gil_scoped_release release;
        return read_memory(from, n);
      },
      py::arg("values").noconvert());
}

}  // namespace aefast::python
