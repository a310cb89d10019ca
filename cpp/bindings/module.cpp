// The Python module of the engine for one instruction-set level: its table of contents.
#include "aefast/score/low_precision.hpp"
#include "convert.hpp"

#define AEFAST_STRING_(x) #x
#define AEFAST_STRING(x) AEFAST_STRING_(x)

PYBIND11_MODULE(AEFAST_MODULE, module, pybind11::mod_gil_not_used()) {
  namespace py = pybind11;
  // Wheels have a C++ library in each module, with exception types of its own. The translator that all modules of a
  // process share belongs to the first one and does not know them.
  py::register_local_exception_translator(&py::detail::translate_exception);
  aefast::python::bind_input(module);
  aefast::python::bind_trainer(module);
  aefast::python::bind_predictor(module);
  aefast::python::bind_evidence(module);
  aefast::python::bind_clusters(module);
  aefast::python::bind_activation(module);
  aefast::python::bind_limits(module);

  module.def("build_info", [] {
    py::dict info;
    info["isa"] = AEFAST_ISA;
#if defined(__clang__)
    info["compiler"] = "clang " __clang_version__;
#else
    info["compiler"] = "gcc " __VERSION__;
#endif
    info["eigen"] = AEFAST_STRING(EIGEN_WORLD_VERSION) "." AEFAST_STRING(EIGEN_MAJOR_VERSION) "." AEFAST_STRING(
        EIGEN_MINOR_VERSION);
    info["eigen_packet"] = std::to_string(aefast::kLanes<float>) + " x float32";
    info["fma"] = aefast::Level::kHasFma;
    const auto describe = [](aefast::Precision precision) {
      return aefast::is_native(precision) ? "native" : "emulated";
    };
    info["bfloat16"] = describe(aefast::Precision::bfloat16);
    info["int8"] = describe(aefast::Precision::int8);
    return info;
  });
}
