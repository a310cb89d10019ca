// The module that detects the processor's levels. It is built with baseline flags, so any machine can import it.
#include "cpu_levels.hpp"

#include <pybind11/pybind11.h>

namespace py = pybind11;

PYBIND11_MODULE(_cpu, module, py::mod_gil_not_used()) {
  module.doc() = "The version of this build and the instruction-set levels this processor can run.";
  module.attr("version") = AEFAST_VERSION;

  py::list known;
  py::list supported;
  for (const aefast::Level& level : aefast::levels()) {
    const py::str name(level.name.data(), level.name.size());
    known.append(name);
    if (level.is_supported) supported.append(name);
  }
  module.attr("known_levels") = py::tuple(known);
  module.attr("supported_levels") = py::tuple(supported);
}
