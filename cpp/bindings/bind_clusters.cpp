// Binds centres and local means of rows.
#include "aefast/score/clusters.hpp"
#include "convert.hpp"

namespace aefast::python {
namespace {

using Doubles = Contiguous<double>;

/// The rows (n, d) of an array, for centres (k, d).
Clusters clusters_of(const Doubles& rows, const Doubles& centres, const std::optional<Doubles>& weights) {
  const bool fits = rows.ndim() == 2 && centres.ndim() == 2 && rows.shape(1) == centres.shape(1);
  if (!fits || rows.size() == 0 || centres.shape(0) == 0) throw py::value_error("rows and centres do not fit");
  if (weights && (weights->ndim() != 1 || weights->shape(0) != rows.shape(0))) {
    throw py::value_error("weights must have one value per row");
  }
  return {rows.data(), rows.shape(0), rows.shape(1), weights ? weights->data() : nullptr};
}

py::array centres(const Doubles& rows, const Doubles& start, const std::optional<Doubles>& weights, Index n_steps,
                  double trimmed) {
  const Clusters clusters = clusters_of(rows, start, weights);
  const Index k = start.shape(0);
  Doubles found({k, start.shape(1)}, start.data());
  double* to = found.mutable_data();
  {
    const py::gil_scoped_release release;
    clusters.move_centres(to, k, n_steps, trimmed);
  }
  return found;
}

py::tuple local_means(const Doubles& rows, const Doubles& anchors, double mass, const std::optional<Doubles>& weights) {
  const Clusters clusters = clusters_of(rows, anchors, weights);
  const Index k = anchors.shape(0);
  Doubles means({k, anchors.shape(1)}), spreads(k);
  double *to = means.mutable_data(), *spreads_to = spreads.mutable_data();
  {
    const py::gil_scoped_release release;
    clusters.local_means(anchors.data(), k, mass, to, spreads_to);
  }
  return py::make_tuple(means, spreads);
}

py::array power_distances(const Doubles& rows, const Doubles& means, const Doubles& spreads) {
  const Clusters clusters = clusters_of(rows, means, std::nullopt);
  if (spreads.ndim() != 1 || spreads.shape(0) != means.shape(0)) {
    throw py::value_error("spreads must have one value per mean");
  }
  Doubles found(rows.shape(0));
  double* to = found.mutable_data();
  {
    const py::gil_scoped_release release;
    clusters.power_distances(means.data(), spreads.data(), means.shape(0), to);
  }
  return found;
}

}  // namespace

void bind_clusters(py::module_& module) {
  module.def("centres", &centres, py::arg("rows"), py::arg("start"), py::arg("weights").none(true), py::arg("n_steps"),
             py::arg("trimmed"));
  module.def("local_means", &local_means, py::arg("rows"), py::arg("anchors"), py::arg("mass"),
             py::arg("weights").none(true));
  module.def("power_distances", &power_distances, py::arg("rows"), py::arg("means"), py::arg("spreads"));
}

}  // namespace aefast::python
