// A fuzz target (libFuzzer) for the engine: any description of a network is refused or scores rows, at every precision.
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "aefast/score/scorer.hpp"

namespace {

using namespace aefast;

/// Numbers from the fuzzer's bytes; zeros when they have run out.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

  template <class T>
  T take() {
    T value{};
    const std::size_t n = std::min(left_, sizeof(T));
    std::memcpy(&value, data_, n);
    data_ += n;
    left_ -= n;
    return value;
  }

  /// Mostly small, sometimes anything.
  Index count() {
    const auto first = take<std::uint8_t>();
    return first < 250 ? first % 20 : take<Index>();
  }

  template <std::size_t n>
  const char* name(const char* const (&names)[n]) {
    return names[take<std::uint8_t>() % n];
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

constexpr const char* kKinds[] = {
    "dense",      "dense",      "top_k", "kl_sparsity", "gaussian_code", "conv2d", "conv2d_transpose",
    "max_pool2d", "upsample2d", "other"};
constexpr const char* kActivations[] = {"identity", "sigmoid", "tanh", "relu",     "leaky_relu", "elu",
                                        "selu",     "gelu",    "silu", "softplus", "softmax",    "other"};

NetworkSpec network_of(Bytes& bytes) {
  NetworkSpec spec;
  spec.n_features = bytes.count();
  spec.n_encoder_layers = bytes.count();
  const auto n_layers = bytes.take<std::uint8_t>() % 7;
  Index width = spec.n_features;  // so that layers often fit together
  for (int i = 0; i < n_layers; ++i) {
    const auto fits = bytes.take<std::uint8_t>();
    LayerSpec layer;
    layer.set("kind", bytes.name(kKinds));
    layer.set("activation", bytes.name(kActivations));
    layer.set("units", i + 1 == n_layers && fits % 8 ? spec.n_features : bytes.count());
    layer.set("tied_to", fits % 4 ? Index{-1} : bytes.count());
    layer.set("batch_norm", Index{fits % 16 == 0});
    layer.set("dropout", fits % 32 == 0 ? 0.5 : 0.0);
    layer.set("k", bytes.count());
    const double number = bytes.take<float>();
    layer.set("target", number);
    layer.set("weight", number);
    const Index height = bytes.count(), wide = bytes.count();
    const bool counts =
        fits % 8 != 1 && height > 0 && wide > 0 && width > 0 && height <= width && wide <= width / height;
    layer.set("image", std::vector<Index>{height, wide, counts ? width / height / wide : bytes.count()});
    layer.set("channels", bytes.count());
    layer.set("kernel_size", bytes.count());
    layer.set("factor", bytes.count());
    layer.set("stride", fits % 3 ? Index{1} : bytes.count());
    if (fits % 5 == 0) layer.set("output", std::vector<Index>{bytes.count(), bytes.count()});
    layer.set("padding", fits % 2 ? "same" : "valid");
    if (layer.kind() == "dense") width = layer.count("units");
    if (layer.kind() == "gaussian_code") width /= 2;
    spec.layers.push_back(layer);
  }
  const auto n_groups = bytes.take<std::uint8_t>();
  for (int i = 0; n_groups > 200 && i < n_groups % 4; ++i) {
    const Index begin = bytes.count();
    spec.groups.emplace_back(begin, bytes.count());
  }
  return spec;
}

template <class T>
void score(const NetworkSpec& spec, Bytes& bytes) {
  constexpr Index kRows = 3, kRoom = 1 << 14;
  const Network<T> network(spec);
  // A model file of this size would have them all.
  if (network.n_parameters() > kRoom || network.width() > kRoom) return;
  const auto number = [&] { return static_cast<T>(bytes.take<std::int8_t>()) / T(32); };
  Buffer<T> params(network.n_parameters());
  for (Index i = 0; i < params.size(); ++i) params[i] = number();
  if (bytes.take<std::uint8_t>() > 250 && params.size() > 0) params[0] = bytes.take<T>();

  const Index d = network.n_features();
  Buffer<double> shift(d), scale(d);
  for (Index j = 0; j < d; ++j) scale[j] = 1 + j;
  const Scaling scaling(std::move(shift), std::move(scale), 1e6, {}, bytes.take<std::uint8_t>() % 2 == 1);
  const auto view_of = [](const Buffer<float>& rows, Index columns) {
    return InputView{reinterpret_cast<const std::byte*>(rows.data()), DType::f32, kRows, columns, columns * 4, 4};
  };
  Buffer<float> rows(kRows * d), codes(kRows * network.code_size());
  for (Index i = 0; i < rows.size(); ++i) rows[i] = bytes.take<float>();
  const InputView X = view_of(rows, d), Z = view_of(codes, network.code_size());

  Buffer<T> to(kRows * network.width()), shares(kRows), expected(kRows);
  Buffer<std::int32_t> features(kRows);
  Buffer<double> values(kRows);
  const auto all = [&](const LowPrecisionNetwork* reduced) {
    Scorer<T> scorer(network, params.data(), scaling, 1, reduced);
    const std::vector<std::string> names = loss_names();
    const Loss metric = find_loss(names[bytes.take<std::uint8_t>() % names.size()]);
    scorer.errors(X, kRows, metric, to.data());
    scorer.feature_errors(X, kRows, metric, to.data());
    scorer.reasons(X, kRows, metric, {1, to.data(), features.data(), shares.data(), expected.data(), values.data()});
    scorer.encode(X, kRows, to.data());
    scorer.decode(Z, kRows, to.data());
    scorer.reconstruct(X, kRows, true, to.data());
    const Index p = d + network.code_size();
    const Buffer<double> centre(p), matrix(p * p), usual(d), deviation(d);
    scorer.set_whitening(centre.data(), matrix.data(), usual.data(), deviation.data());
    scorer.errors(X, kRows, SquaredError{}, to.data());
    scorer.feature_errors(X, kRows, SquaredError{}, to.data());
  };
  all(nullptr);
  if constexpr (std::is_same_v<T, float>) {
    const LowPrecisionNetwork bfloat16(network, params.data(), Precision::bfloat16, {});
    all(&bfloat16);
    std::vector<InputRange> ranges = input_ranges(network, params.data(), scaling, X, 0);
    for (InputRange& range : ranges) {
      if (bytes.take<std::uint8_t>() > 200) range.low.front() = bytes.take<float>();
      if (bytes.take<std::uint8_t>() > 200) range.high.back() = bytes.take<float>();
    }
    const LowPrecisionNetwork int8(network, params.data(), Precision::int8, ranges);
    all(&int8);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(data, size);
  try {
    const bool is_double = bytes.take<std::uint8_t>() % 4 == 0;
    const NetworkSpec spec = network_of(bytes);
    if (is_double) score<double>(spec, bytes);
    else score<float>(spec, bytes);
  } catch (const std::invalid_argument&) {  // the one way to refuse
  } catch (const std::out_of_range&) {      // or what vector::at makes of it
  }
  return 0;
}
