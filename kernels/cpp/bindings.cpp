// The Python face of the C++ kernels: array types and names, no maths. The only file that includes nanobind.
//
// noconvert() on every array: without it nanobind copies a strided or float64 argument silently, and an
// output array that was copied would never be filled. The GIL is released while a kernel runs.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "impact_dot/impact_index.hpp"
#include "lexicon_head/cpu_dispatch.hpp"
#include "lexicon_head/lexicon_head.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <typename T>
using Vector = nb::ndarray<T, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <typename T>
using Matrix = nb::ndarray<T, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <typename T>
using Cube = nb::ndarray<T, nb::numpy, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

template <typename Array>
auto view(const Array& array) {
  return std::span(array.data(), array.size());
}

template <typename Impact>
void build_postings(const Vector<const std::int64_t>& indptr, const Vector<const std::int32_t>& indices,
                    const Vector<const std::int32_t>& impacts, std::int64_t vocab_size,
                    const Vector<std::int64_t>& term_offsets, const Vector<std::uint16_t>& posting_docs,
                    const Vector<Impact>& posting_impacts) {
  lexlip::build_postings({view(indptr), view(indices), view(impacts)}, vocab_size, view(term_offsets),
                         view(posting_docs), view(posting_impacts));
}

template <typename Impact>
void search(const Vector<const std::int64_t>& term_offsets, const Vector<const std::uint16_t>& posting_docs,
            const Vector<const Impact>& posting_impacts, std::int64_t num_docs, std::int64_t vocab_size,
            const Vector<const std::int64_t>& query_indptr, const Vector<const std::int32_t>& query_indices,
            const Vector<const std::int32_t>& query_impacts, std::int64_t threads,
            const Matrix<std::int32_t>& rows, const Matrix<std::int32_t>& scores) {
  const auto k = static_cast<std::int64_t>(rows.shape(1));
  const lexlip::Postings<Impact> index{view(term_offsets), view(posting_docs), view(posting_impacts),
                                       num_docs, vocab_size};
  lexlip::search(index, {view(query_indptr), view(query_indices), view(query_impacts)}, k, threads,
                 view(rows), view(scores));
}

// Once for each width of a stored impact; Python chooses by the dtype of the array.
template <typename Impact>
void define_impact_dot(nb::module_& module) {
  module.def("impact_build_postings", &build_postings<Impact>, "indptr"_a.noconvert(),
             "indices"_a.noconvert(), "impacts"_a.noconvert(), "vocab_size"_a, "term_offsets"_a.noconvert(),
             "posting_docs"_a.noconvert(), "posting_impacts"_a.noconvert(),
             nb::call_guard<nb::gil_scoped_release>(),
             "Transpose documents into postings; overwrites the last three arrays.");

  module.def("impact_search", &search<Impact>, "term_offsets"_a.noconvert(), "posting_docs"_a.noconvert(),
             "posting_impacts"_a.noconvert(), "num_docs"_a, "vocab_size"_a, "query_indptr"_a.noconvert(),
             "query_indices"_a.noconvert(), "query_impacts"_a.noconvert(), "threads"_a, "rows"_a.noconvert(),
             "scores"_a.noconvert(), nb::call_guard<nb::gil_scoped_release>(),
             "Exact top-k of each query; overwrites rows and scores, both of shape (Q, k).");
}

std::vector<std::string> lexicon_cpu_paths() {
  std::vector<std::string> names;
  for (const lexlip::CpuKernels* kernels : lexlip::cpu_paths()) names.emplace_back(kernels->name);
  return names;
}

std::int64_t lexicon_pack(const Matrix<const float>& weight, std::int64_t threads,
                          const Vector<std::int8_t>& values, const Vector<std::int32_t>& sums,
                          const Vector<float>& scale, const Vector<float>& norm,
                          const Vector<float>& residual) {
  return lexlip::pack_decoder(view(weight), static_cast<std::int64_t>(weight.shape(0)), threads,
                              {view(values), view(sums), view(scale), view(norm), view(residual)});
}

// The seven arrays of a packed decoder travel together; Python holds them, C++ looks at them.
struct DecoderArrays {
  Matrix<const float> weight;
  Vector<const float> bias;
  Vector<const std::int8_t> values;
  Vector<const std::int32_t> sums;
  Vector<const float> scale;
  Vector<const float> norm;
  Vector<const float> residual;
  float largest_norm;

  lexlip::Decoder decoder() const {
    return {view(weight), view(bias), view(values),   view(sums),
            view(scale),  view(norm), view(residual), largest_norm};
  }
};

lexlip::HiddenStates states(const Cube<const float>& hidden, const Matrix<const std::uint8_t>& mask) {
  const auto axis = [&](std::size_t i) { return static_cast<std::int64_t>(hidden.shape(i)); };
  return {view(hidden), view(mask), axis(0), axis(1), axis(2)};
}

const lexlip::CpuKernels& kernels_of(const std::string& cpu_path) {
  const lexlip::CpuKernels* kernels = lexlip::find_cpu_path(cpu_path);
  if (kernels == nullptr) throw nb::value_error("this CPU path does not run here");
  return *kernels;
}

void lexicon_upper_bounds(const DecoderArrays& decoder, const Cube<const float>& hidden,
                          const Matrix<const std::uint8_t>& mask, std::int64_t threads,
                          const std::string& cpu_path, const Matrix<float>& bounds) {
  const lexlip::CpuKernels& kernels = kernels_of(cpu_path);
  if (kernels.levels == 0) throw nb::value_error("this CPU path does not scan");
  lexlip::upper_bounds(decoder.decoder(), states(hidden, mask), threads, kernels, view(bounds));
}

std::int64_t lexicon_head(const DecoderArrays& decoder, const Cube<const float>& hidden,
                          const Matrix<const std::uint8_t>& mask, bool exact, std::int64_t threads,
                          const std::string& cpu_path, const Matrix<std::int64_t>& ids,
                          const Matrix<float>& weights, const Vector<std::int32_t>& counts) {
  return lexlip::lexicon_head(decoder.decoder(), states(hidden, mask),
                              static_cast<std::int64_t>(ids.shape(1)), exact, threads, kernels_of(cpu_path),
                              {view(ids), view(weights), view(counts)});
}

}  // namespace

NB_MODULE(_native, module) {
  module.doc() =
      "Compiled kernels. Private: use the packages of lexlip_kernels, which check their arguments.";

  define_impact_dot<std::uint8_t>(module);
  define_impact_dot<std::uint16_t>(module);

  module.def("lexicon_cpu_paths", &lexicon_cpu_paths, "CPU paths that run here, fastest first.");

  module.def(
      "lexicon_pack", &lexicon_pack, "weight"_a.noconvert(), "threads"_a, "values"_a.noconvert(),
      "sums"_a.noconvert(), "scale"_a.noconvert(), "norm"_a.noconvert(), "residual"_a.noconvert(),
      nb::call_guard<nb::gil_scoped_release>(),
      "Quantise a decoder (V, H); overwrites the last five arrays. Returns the first column that is not "
      "finite, or -1.");

  nb::class_<DecoderArrays>(module, "DecoderArrays",
                            "A decoder and its panels, as the compiled head reads them.")
      .def(nb::init<Matrix<const float>, Vector<const float>, Vector<const std::int8_t>,
                    Vector<const std::int32_t>, Vector<const float>, Vector<const float>, Vector<const float>,
                    float>(),
           "weight"_a.noconvert(), "bias"_a.noconvert(), "values"_a.noconvert(), "sums"_a.noconvert(),
           "scale"_a.noconvert(), "norm"_a.noconvert(), "residual"_a.noconvert(), "largest_norm"_a);

  module.def("lexicon_upper_bounds", &lexicon_upper_bounds, "decoder"_a, "hidden"_a.noconvert(),
             "mask"_a.noconvert(), "threads"_a, "cpu_path"_a, "bounds"_a.noconvert(),
             nb::call_guard<nb::gil_scoped_release>(),
             "What no float32 logit exceeds; overwrites bounds (B, V). For tests and benchmarks.");

  module.def(
      "lexicon_head", &lexicon_head, "decoder"_a, "hidden"_a.noconvert(), "mask"_a.noconvert(), "exact"_a,
      "threads"_a, "cpu_path"_a, "ids"_a.noconvert(), "weights"_a.noconvert(), "counts"_a.noconvert(),
      nb::call_guard<nb::gil_scoped_release>(),
      "The k heaviest terms of each row; overwrites the last three arrays. Returns the first row that is "
      "not finite or might overflow, or -1.");
}
