// The Python face of the C++ kernels: array types and names, no maths. The only file that includes nanobind.
//
// noconvert() on every array: without it nanobind copies a strided or float64 argument silently, and an
// output array that was copied would never be filled. The GIL is released while a kernel runs.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "impact_index.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <typename T>
using Vector = nb::ndarray<T, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <typename T>
using Matrix = nb::ndarray<T, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <typename Array>
auto view(const Array& array) {
  return std::span(array.data(), array.size());
}

void build_postings(const Vector<const std::int64_t>& indptr, const Vector<const std::int32_t>& indices,
                    const Vector<const std::int32_t>& impacts, const Vector<std::int64_t>& term_offsets,
                    const Vector<std::int32_t>& posting_docs, const Vector<std::uint16_t>& posting_impacts) {
  lexlip::build_postings({view(indptr), view(indices), view(impacts)}, view(term_offsets), view(posting_docs),
                         view(posting_impacts));
}

void search(const Vector<const std::int64_t>& term_offsets, const Vector<const std::int32_t>& posting_docs,
            const Vector<const std::uint16_t>& posting_impacts, std::int64_t num_docs,
            const Vector<const std::int64_t>& query_indptr, const Vector<const std::int32_t>& query_indices,
            const Vector<const std::int32_t>& query_impacts, std::int64_t threads,
            const Matrix<std::int32_t>& rows, const Matrix<std::int32_t>& scores) {
  const auto k = static_cast<std::int64_t>(rows.shape(1));
  lexlip::search({view(term_offsets), view(posting_docs), view(posting_impacts), num_docs},
                 {view(query_indptr), view(query_indices), view(query_impacts)}, k, threads, view(rows),
                 view(scores));
}

}  // namespace

NB_MODULE(_native, module) {
  module.doc() =
      "Compiled kernels. Private: use the packages of lexlip_kernels, which check their arguments.";

  module.def("impact_build_postings", &build_postings, "indptr"_a.noconvert(), "indices"_a.noconvert(),
             "impacts"_a.noconvert(), "term_offsets"_a.noconvert(), "posting_docs"_a.noconvert(),
             "posting_impacts"_a.noconvert(), nb::call_guard<nb::gil_scoped_release>(),
             "Transpose documents into postings; overwrites the last three arrays.");

  module.def("impact_search", &search, "term_offsets"_a.noconvert(), "posting_docs"_a.noconvert(),
             "posting_impacts"_a.noconvert(), "num_docs"_a, "query_indptr"_a.noconvert(),
             "query_indices"_a.noconvert(), "query_impacts"_a.noconvert(), "threads"_a, "rows"_a.noconvert(),
             "scores"_a.noconvert(), nb::call_guard<nb::gil_scoped_release>(),
             "Exact top-k of each query; overwrites rows and scores, both of shape (Q, k).");
}
