// The processor detector: a module of its own, built with baseline flags, that is safe to import on any machine.
#include "cpu_levels.hpp"

#include <pybind11/pybind11.h>

namespace py = pybind11;

PYBIND11_MODULE(_cpu, module) {
  module.doc() = "The version of this build and the instruction-set levels this processor can run.";
  module.attr("version") = AEFAST_VERSION;

  py::list known;
  py::list supported;
  for (const std::string_view level : aefast::kLevels) {
    const py::str name(level.data(), level.size());
    known.append(name);
    if (aefast::cpu_supports(level)) supported.append(name);
  }
  module.attr("known_levels") = py::tuple(known);
  module.attr("supported_levels") = py::tuple(supported);
}
