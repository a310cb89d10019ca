/// How the estimators describe a layer, and what a layer is made from.
#pragma once

#include <initializer_list>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "activation.hpp"
#include "layer.hpp"

namespace aefast {

/// More parameters, multiply-adds or features than any machine has room for, and far below the limit of Index.
inline constexpr Index kMaxCount = Index{1} << 44;

/// Throws if the product of `factors`, all at least 1, exceeds kMaxCount.
inline void check_size(const char* what, std::initializer_list<Index> factors) {
  Index size = 1;
  for (const Index factor : factors) {
    if (size > kMaxCount / factor) throw std::invalid_argument(std::string(what) + " is too large");
    size *= factor;
  }
}

/// The kind of a layer and its other values by name; each kind of layer reads the values that it needs.
class LayerSpec {
 public:
  using Value = std::variant<Index, double, std::string, std::vector<Index>>;

  void set(const std::string& name, Value value) { values_[name] = std::move(value); }

  std::string kind() const { return text("kind", "dense"); }
  bool flag(const std::string& name) const { return number(name, 0) != 0; }
  Index count(const std::string& name, Index otherwise = 0) const { return get<Index>(name, otherwise); }
  std::string text(const std::string& name, const std::string& otherwise) const { return get(name, otherwise); }
  std::vector<Index> sizes(const std::string& name) const { return get<std::vector<Index>>(name, {}); }
  double number(const std::string& name, double otherwise = 0) const {
    const auto found = values_.find(name);
    if (found != values_.end() && std::holds_alternative<Index>(found->second)) {
      return static_cast<double>(std::get<Index>(found->second));
    }
    return get(name, otherwise);
  }

  /// The count with that name. Throws if it is below 1; the message calls it `what`.
  Index at_least_one(const std::string& name, const char* what) const {
    const Index value = count(name);
    if (value < 1) throw std::invalid_argument(needs(what, value));
    return value;
  }
  std::string needs(const char* what, Index value) const {
    return kind() + " needs " + what + " of at least 1, not " + std::to_string(value);
  }

 private:
  template <class V>
  V get(const std::string& name, const V& otherwise) const {
    const auto found = values_.find(name);
    if (found == values_.end()) return otherwise;
    if (const V* value = std::get_if<V>(&found->second)) return *value;
    throw std::invalid_argument("'" + name + "' of a layer has the wrong type");
  }

  std::map<std::string, Value> values_;
};

/// The place of a layer in its network.
template <class T>
struct LayerContext {
  Index n_in;
  Activation<T> activation;                 // the layer's own; identity if batch normalisation comes first
  const std::vector<Layer<T>*>& described;  // the layer made from each description, up to this one, which is null
  Index& n_parameters;                      // the layer's parameters begin here; making it moves this past them
};

}  // namespace aefast
