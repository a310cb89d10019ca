// Binds the evidence of columns of several kinds.
#include "aefast/score/evidence.hpp"
#include "convert.hpp"

namespace aefast::python {
namespace {

/// Knots, nats and the slope beyond.
using TailArrays = std::tuple<std::vector<double>, std::vector<double>, double>;

Tail to_tail(const std::optional<TailArrays>& arrays) {
  if (!arrays) return {};
  const auto& [knots, nats, slope] = *arrays;
  if (knots.empty() || knots.size() != nats.size()) throw py::value_error("a tail has a value for each knot");
  return {knots, nats, slope};
}

EvidenceContext to_context(const py::dict& spec) {
  using Kind = EvidenceContext::Kind;
  const std::string kind = spec["kind"].cast<std::string>();
  EvidenceContext context{kind == "level"    ? Kind::level
                          : kind == "number" ? Kind::number
                          : kind == "hour"   ? Kind::hour
                                             : Kind::day,
                          spec["column"].cast<Index>(),
                          spec["input"].cast<Index>(),
                          spec["n"].cast<Index>(),
                          {},
                          {},
                          {},
                          {},
                          0,
                          0,
                          {}};
  if (spec.contains("edges")) context.edges = spec["edges"].cast<std::vector<double>>();
  if (spec.contains("own")) context.own = spec["own"].cast<std::vector<double>>();
  if (spec.contains("left_own")) context.left_own = spec["left_own"].cast<std::vector<double>>();
  if (spec.contains("left_state")) context.left_state = spec["left_state"].cast<std::vector<std::int32_t>>();
  if (spec.contains("margin")) {
    const auto [centre, scale, above, below] =
        spec["margin"].cast<std::tuple<double, double, TailArrays, TailArrays>>();
    context.centre = centre;
    context.inverse = 1 / scale;
    context.margins = {to_tail(above), to_tail(below)};
  }
  return context;
}

using Table = Contiguous<float>;
/// Context, margin and the factors of rows that are left out, parents with table and factors, tail.
using TargetArrays = std::tuple<Index, Table, Table, std::vector<std::tuple<Index, Table, Table>>, TailArrays>;

std::vector<float> to_vector(const Table& table) { return {table.data(), table.data() + table.size()}; }

/// A target whose tables fit the contexts.
EvidenceTarget to_target(const TargetArrays& arrays, const std::vector<EvidenceContext>& contexts) {
  const auto& [number, margin, left, parents, tail] = arrays;
  const auto n_states = [&](Index context) { return contexts.at(static_cast<std::size_t>(context)).n_states; };
  EvidenceTarget target{number, to_vector(margin), to_vector(left), {}, to_tail(tail)};
  const auto fits = [](const Table& factors, const Table& table) {
    return factors.size() == 0 || factors.size() == table.size();
  };
  if (margin.ndim() != 1 || margin.size() != n_states(number) || parents.empty() || parents.size() > 3 ||
      !fits(left, margin)) {
    throw py::value_error("a target has a probability for each state and one to three parents");
  }
  for (const auto& [context, table, factors] : parents) {
    if (table.ndim() != 2 || table.shape(0) != n_states(context) || table.shape(1) != margin.size() ||
        !fits(factors, table)) {
      throw py::value_error("a table has a row for each state of the parent");
    }
    target.parents.push_back({context, to_vector(table), to_vector(factors)});
  }
  return target;
}

using Joint = std::optional<Contiguous<double>>;

struct EvidenceRows {
  Input input;
  const double* joint;

  EvidenceRows(const Evidence& evidence, const py::array& X, const Joint& scores)
      : input(X), joint(scores ? scores->data() : nullptr) {
    if (input.columns() != evidence.n_inputs()) throw py::value_error("X has the wrong width");
    if (scores && scores->size() != input.rows()) throw py::value_error("joint must have a score for each row");
  }
};

}  // namespace

void bind_evidence(py::module_& module) {
  const py::none none;
  py::class_<Evidence>(module, "Evidence")
      .def(py::init([](Index n_columns, Index n_inputs, const std::vector<py::dict>& contexts,
                       const std::vector<TargetArrays>& targets, const std::vector<std::optional<TailArrays>>& tails,
                       int n_threads) {
             std::vector<EvidenceContext> found;
             for (const py::dict& context : contexts) {
               found.push_back(to_context(context));
               const EvidenceContext& last = found.back();
               const bool is_time = last.kind == EvidenceContext::Kind::hour || last.kind == EvidenceContext::Kind::day;
               if (last.column < 0 || last.column >= n_columns || last.n_states < 1 || last.input < 0 ||
                   last.input + (is_time ? 4 : 1) > n_inputs) {
                 throw py::value_error("a context is out of range");
               }
               for (const std::vector<double>* own : {&last.own, &last.left_own}) {
                 if (is_time && !own->empty() && static_cast<Index>(own->size()) != last.n_states) {
                   throw py::value_error("times have evidence for each state");
                 }
               }
             }
             std::vector<EvidenceTarget> of_targets;
             for (const TargetArrays& target : targets) of_targets.push_back(to_target(target, found));
             std::vector<Tail> of_families;
             for (const auto& tail : tails) of_families.push_back(to_tail(tail));
             if (of_families.size() != Evidence::kFamilies) throw py::value_error("there is a tail for each family");
             return std::make_unique<Evidence>(n_columns, n_inputs, std::move(found), std::move(of_targets),
                                               std::move(of_families), n_threads);
           }),
           py::arg("n_columns"), py::arg("n_inputs"), py::arg("contexts"), py::arg("targets"), py::arg("tails"),
           py::arg("n_threads"))
      .def(
          "surprises",
          [](const Evidence& self, const py::array& X, bool leaves_out) {
            const EvidenceRows rows(self, X, std::nullopt);
            py::array_t<double> result({rows.input.rows(), self.n_targets()});
            double* to = result.mutable_data();
            {
              const py::gil_scoped_release release;
              self.surprises(rows.input.view(), leaves_out, to);
            }
            return result;
          },
          py::arg("X"), py::arg("leaves_out") = false)
      .def(
          "families",
          [](const Evidence& self, const py::array& X, bool leaves_out) {
            const EvidenceRows rows(self, X, std::nullopt);
            py::array_t<double> result({rows.input.rows(), Index{3}});
            double* to = result.mutable_data();
            {
              const py::gil_scoped_release release;
              self.families(rows.input.view(), leaves_out, to);
            }
            return result;
          },
          py::arg("X"), py::arg("leaves_out") = false)
      .def(
          "errors",
          [](const Evidence& self, const py::array& X, const Joint& joint, bool leaves_out) {
            const EvidenceRows rows(self, X, joint);
            py::array_t<double> result(rows.input.rows());
            double* to = result.mutable_data();
            {
              const py::gil_scoped_release release;
              self.errors(rows.input.view(), leaves_out, rows.joint, to);
            }
            return result;
          },
          py::arg("X"), py::arg("joint") = none, py::arg("leaves_out") = false)
      .def(
          "contributions",
          [](const Evidence& self, const py::array& X, const Joint& joint, const Joint& shares) {
            const EvidenceRows rows(self, X, joint);
            if (shares && shares->size() != rows.input.rows() * self.n_columns()) {
              throw py::value_error("shares must have a value for each column of each row");
            }
            py::array_t<double> result({rows.input.rows(), self.n_columns()});
            py::array_t<std::int32_t> expected({rows.input.rows(), self.n_columns()});
            double* to = result.mutable_data();
            std::int32_t* expected_to = expected.mutable_data();
            {
              const py::gil_scoped_release release;
              self.contributions(rows.input.view(), rows.joint, shares ? shares->data() : nullptr, to, expected_to);
            }
            return py::make_tuple(result, expected);
          },
          py::arg("X"), py::arg("joint") = none, py::arg("shares") = none);
}

}  // namespace aefast::python
