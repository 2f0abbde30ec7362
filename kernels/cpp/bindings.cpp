// The Python face of the C++ kernels: array types, names and shapes, no maths. The only file that includes
// nanobind.
//
// Shapes that do not fit one another are a ValueError: they cost nothing to compare, and a mistake in Python
// then never reads or writes outside of an array. What is in the arrays (offsets, ids) lexlip_kernels checks.
//
// noconvert() on every array: without it nanobind copies a strided or float64 argument silently, and an
// output array that was copied would never be filled. The GIL is released while a kernel runs.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <limits>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "impact_dot/impact_index.hpp"
#include "lexicon_head/cpu_dispatch.hpp"
#include "lexicon_head/lexicon_head.hpp"
#include "lexicon_pool/lexicon_pool.hpp"

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

// Of documents, terms and threads: products of two of them, and a few times one of them, fit into 64 bits.
// (Channels have a limit of their own: sums of products of 8 bits stay within 32.)
constexpr std::int64_t kMaxHidden = std::int64_t{1} << 15;
constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();

void require(bool holds, const char* what) {
  if (!holds) throw nb::value_error(what);
}

void require_threads(std::int64_t threads) {
  require(threads >= 1 && threads <= kMost, "threads must be at least 1 and below 2^31");
}

template <typename Array>
std::int64_t length(const Array& array, std::size_t axis = 0) {
  return static_cast<std::int64_t>(array.shape(axis));
}

template <typename Array, typename Other>
bool same_shape(const Array& array, const Other& other) {
  for (std::size_t axis = 0; axis < array.ndim(); ++axis)
    if (array.shape(axis) != other.shape(axis)) return false;
  return true;
}

std::int64_t rounded_up(std::int64_t count, std::int64_t step) { return (count + step - 1) / step * step; }

// Rows in compressed form, and the postings of a number of documents over a vocabulary.
lexlip::ImpactRows impact_rows(const Vector<const std::int64_t>& indptr,
                               const Vector<const std::int32_t>& indices,
                               const Vector<const std::int32_t>& impacts) {
  require(length(indptr) >= 1, "indptr must have an offset more than there are rows");
  require(same_shape(indices, impacts), "indices and impacts must be of one length");
  return {view(indptr), view(indices), view(impacts)};
}

template <typename Docs, typename Impacts>
void require_postings(std::int64_t term_offsets, const Docs& docs, const Impacts& impacts,
                      std::int64_t num_docs, std::int64_t vocab_size) {
  require(num_docs >= 0 && num_docs <= kMost, "the number of documents must be below 2^31");
  require(vocab_size >= 0 && vocab_size <= kMost, "vocab_size must be at least 0 and below 2^31");
  const std::int64_t chunks = rounded_up(num_docs, lexlip::kChunkDocs) / lexlip::kChunkDocs;
  require(term_offsets == chunks * vocab_size + 1,
          "term_offsets must have one of each term and chunk, and one");
  require(same_shape(docs, impacts), "posting_docs and posting_impacts must be of one length");
}

template <typename Impact>
void build_postings(const Vector<const std::int64_t>& indptr, const Vector<const std::int32_t>& indices,
                    const Vector<const std::int32_t>& impacts, std::int64_t vocab_size,
                    const Vector<std::int64_t>& term_offsets, const Vector<std::uint16_t>& posting_docs,
                    const Vector<Impact>& posting_impacts) {
  const lexlip::ImpactRows documents = impact_rows(indptr, indices, impacts);
  require_postings(length(term_offsets), posting_docs, posting_impacts, length(indptr) - 1, vocab_size);
  require(same_shape(indices, posting_docs), "postings must be as many as impacts");
  lexlip::build_postings(documents, vocab_size, view(term_offsets), view(posting_docs),
                         view(posting_impacts));
}

template <typename Impact>
void search(const Vector<const std::int64_t>& term_offsets, const Vector<const std::uint16_t>& posting_docs,
            const Vector<const Impact>& posting_impacts, std::int64_t num_docs, std::int64_t vocab_size,
            const Vector<const std::int64_t>& query_indptr, const Vector<const std::int32_t>& query_indices,
            const Vector<const std::int32_t>& query_impacts, std::int64_t threads,
            const Matrix<std::int32_t>& rows, const Matrix<std::int32_t>& scores) {
  require_threads(threads);
  require_postings(length(term_offsets), posting_docs, posting_impacts, num_docs, vocab_size);
  const lexlip::ImpactRows queries = impact_rows(query_indptr, query_indices, query_impacts);
  require(length(rows) == length(query_indptr) - 1 && same_shape(rows, scores),
          "rows and scores must be (queries, k)");
  const std::int64_t k = length(rows, 1);
  require(k >= 1 || num_docs == 0, "k must be at least 1 where there are documents");
  const lexlip::Postings<Impact> index{view(term_offsets), view(posting_docs), view(posting_impacts),
                                       num_docs, vocab_size};
  lexlip::search(index, queries, k, threads, view(rows), view(scores));
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

// weight (V, H), and the panels that belong to it.
template <typename Values, typename Sums, typename Floats>
void require_panels(const Matrix<const float>& weight, const Values& values, const Sums& sums,
                    const Floats& scale, const Floats& norm, const Floats& residual) {
  const std::int64_t vocabulary = length(weight, 0), hidden = length(weight, 1);
  require(vocabulary >= 1 && vocabulary <= kMost - 64, "weight must have a term, and fewer than 2^31");
  require(hidden >= 1 && hidden <= kMaxHidden, "weight must have 1 to 2^15 channels");
  const std::int64_t columns = rounded_up(vocabulary, lexlip::kPanelColumns);
  require(length(values) == columns * lexlip::packed_depth(hidden), "values do not fit the weight");
  require(length(sums) == columns && same_shape(scale, sums) && same_shape(norm, sums) &&
              same_shape(residual, sums),
          "sums, scale, norm and residual do not fit the weight");
}

std::int64_t lexicon_pack(const Matrix<const float>& weight, std::int64_t threads,
                          const Vector<std::int8_t>& values, const Vector<std::int32_t>& sums,
                          const Vector<float>& scale, const Vector<float>& norm,
                          const Vector<float>& residual) {
  require_threads(threads);
  require_panels(weight, values, sums, scale, norm, residual);
  return lexlip::pack_decoder(view(weight), length(weight), threads,
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

  void check() const {
    require_panels(weight, values, sums, scale, norm, residual);
    require(length(bias) == length(weight), "bias must have one of each term");
  }

  lexlip::Decoder decoder() const {
    return {view(weight), view(bias), view(values),   view(sums),
            view(scale),  view(norm), view(residual), largest_norm};
  }
};

void make_decoder_arrays(DecoderArrays* place, Matrix<const float> weight, Vector<const float> bias,
                         Vector<const std::int8_t> values, Vector<const std::int32_t> sums,
                         Vector<const float> scale, Vector<const float> norm, Vector<const float> residual,
                         float largest_norm) {
  DecoderArrays arrays{weight, bias, values, sums, scale, norm, residual, largest_norm};
  arrays.check();
  new (place) DecoderArrays(std::move(arrays));
}

lexlip::HiddenStates states(const DecoderArrays& decoder, const Cube<const float>& hidden,
                            const Matrix<const std::uint8_t>& mask) {
  require(length(hidden, 2) == length(decoder.weight, 1), "hidden must have the channels of the decoder");
  require(same_shape(mask, hidden), "mask must be (B, L), as hidden is");
  return {view(hidden), view(mask), length(hidden, 0), length(hidden, 1), length(hidden, 2)};
}

const lexlip::CpuKernels& kernels_of(const std::string& cpu_path) {
  const lexlip::CpuKernels* kernels = lexlip::find_cpu_path(cpu_path);
  require(kernels != nullptr, "this CPU path does not run here");
  return *kernels;
}

void lexicon_upper_bounds(const DecoderArrays& decoder, const Cube<const float>& hidden,
                          const Matrix<const std::uint8_t>& mask, std::int64_t threads,
                          const std::string& cpu_path, const Matrix<float>& bounds) {
  const lexlip::CpuKernels& kernels = kernels_of(cpu_path);
  require(kernels.levels != 0, "this CPU path does not scan");
  require_threads(threads);
  require(length(bounds, 0) == length(hidden) && length(bounds, 1) == length(decoder.weight),
          "bounds must be (B, V)");
  lexlip::upper_bounds(decoder.decoder(), states(decoder, hidden, mask), threads, kernels, view(bounds));
}

std::int64_t lexicon_head(const DecoderArrays& decoder, const Cube<const float>& hidden,
                          const Matrix<const std::uint8_t>& mask, bool exact, std::int64_t threads,
                          const std::string& cpu_path, bool elu1p, bool normalise,
                          const Matrix<const std::int64_t>& own, const Matrix<std::int64_t>& ids,
                          const Matrix<float>& weights, const Vector<std::int32_t>& counts) {
  require_threads(threads);
  require(length(own) == length(hidden), "own must be (B, O)");
  require(length(ids) == length(hidden) && length(ids, 1) > length(own, 1) && same_shape(ids, weights),
          "ids and weights must be (B, k + O), k at least 1");
  const auto vocabulary = static_cast<std::int64_t>(decoder.decoder().bias.size());
  require(std::ranges::all_of(view(own), [&](std::int64_t v) { return v >= -1 && v < vocabulary; }),
          "own must be term ids, or -1");
  require(length(counts) == length(hidden), "counts must be (B,)");
  const auto saturation = elu1p ? lexlip::Saturation::kElu1p : lexlip::Saturation::kLog1pRelu;
  const lexlip::HeadRule rule{saturation, normalise, view(own), length(own, 1)};
  return lexlip::lexicon_head(decoder.decoder(), states(decoder, hidden, mask),
                              length(ids, 1) - length(own, 1), exact, threads, kernels_of(cpu_path),
                              {view(ids), view(weights), view(counts)}, rule);
}

template <typename Logit>
void pool_maxima(const Matrix<const Logit>& logits, const Vector<const std::int64_t>& offsets,
                 const Vector<const std::int16_t>& places, std::int64_t threads, const Matrix<float>& maxima,
                 const Matrix<std::int16_t>& tokens) {
  require_threads(threads);
  require(length(places) == length(logits), "places must have one of each token");
  require(length(offsets) == length(maxima) + 1, "offsets must have one more than there are rows");
  require(length(maxima, 1) == length(logits, 1) && same_shape(maxima, tokens),
          "maxima and tokens must be (B, V)");
  const auto bounds = view(offsets);
  require(bounds.front() == 0 && bounds.back() == length(logits) && std::ranges::is_sorted(bounds),
          "offsets must ascend from 0 to the number of tokens");
  lexlip::token_maxima(view(logits), bounds, view(places), length(logits, 1), threads, view(maxima),
                       view(tokens));
}

// slope and tokens (B, V), states (B, L, H) and rows (V, H), one of them what is filled.
template <typename States, typename Rows>
lexlip::PoolShape pool_shape(const Matrix<const float>& slope, const Matrix<const std::int16_t>& tokens,
                             const States& states, const Rows& rows, std::int64_t threads) {
  require_threads(threads);
  require(same_shape(tokens, slope), "slope and tokens must be of one shape (B, V)");
  require(length(states) == length(slope), "hidden must have the rows of slope");
  require(length(rows) == length(slope, 1), "weight must have the terms of slope");
  require(length(states, 2) == length(rows, 1), "hidden must have the channels of weight");
  return {length(states), length(states, 1), length(rows), length(rows, 1)};
}

void pool_hidden_gradient(const Matrix<const float>& slope, const Matrix<const std::int16_t>& tokens,
                          const Matrix<const float>& weight, std::int64_t threads,
                          const Cube<float>& gradient) {
  lexlip::hidden_gradient(view(slope), view(tokens), view(weight),
                          pool_shape(slope, tokens, gradient, weight, threads), threads, view(gradient));
}

void pool_weight_gradient(const Matrix<const float>& slope, const Matrix<const std::int16_t>& tokens,
                          const Cube<const float>& hidden, std::int64_t threads,
                          const Matrix<float>& gradient) {
  lexlip::weight_gradient(view(slope), view(tokens), view(hidden),
                          pool_shape(slope, tokens, hidden, gradient, threads), threads, view(gradient));
}

template <typename Logit>
void define_pool_maxima(nb::module_& module) {
  module.def("pool_maxima", &pool_maxima<Logit>, "logits"_a.noconvert(), "offsets"_a.noconvert(),
             "places"_a.noconvert(), "threads"_a, "maxima"_a.noconvert(), "tokens"_a.noconvert(),
             nb::call_guard<nb::gil_scoped_release>(),
             "Maxima over tokens, and the token of each; overwrites the last two arrays, both (B, V). "
             "16-bit logits are bfloat16.");
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
      .def("__init__", &make_decoder_arrays, "weight"_a.noconvert(), "bias"_a.noconvert(),
           "values"_a.noconvert(), "sums"_a.noconvert(), "scale"_a.noconvert(), "norm"_a.noconvert(),
           "residual"_a.noconvert(), "largest_norm"_a);

  module.def("lexicon_upper_bounds", &lexicon_upper_bounds, "decoder"_a, "hidden"_a.noconvert(),
             "mask"_a.noconvert(), "threads"_a, "cpu_path"_a, "bounds"_a.noconvert(),
             nb::call_guard<nb::gil_scoped_release>(),
             "What no float32 logit exceeds; overwrites bounds (B, V). For tests and benchmarks.");

  module.def("lexicon_head", &lexicon_head, "decoder"_a, "hidden"_a.noconvert(), "mask"_a.noconvert(),
             "exact"_a, "threads"_a, "cpu_path"_a, "elu1p"_a, "normalise"_a, "own"_a.noconvert(),
             "ids"_a.noconvert(), "weights"_a.noconvert(), "counts"_a.noconvert(),
             nb::call_guard<nb::gil_scoped_release>(),
             "The k heaviest terms of each row, and its own; overwrites the last three arrays. Returns the "
             "first row that is "
             "not finite or might overflow, or -1.");

  define_pool_maxima<float>(module);
  define_pool_maxima<std::uint16_t>(module);

  module.def("pool_hidden_gradient", &pool_hidden_gradient, "slope"_a.noconvert(), "tokens"_a.noconvert(),
             "weight"_a.noconvert(), "threads"_a, "gradient"_a.noconvert(),
             nb::call_guard<nb::gil_scoped_release>(),
             "Back through the maxima to the hidden states; overwrites gradient (B, L, H).");

  module.def("pool_weight_gradient", &pool_weight_gradient, "slope"_a.noconvert(), "tokens"_a.noconvert(),
             "hidden"_a.noconvert(), "threads"_a, "gradient"_a.noconvert(),
             nb::call_guard<nb::gil_scoped_release>(),
             "Back through the maxima to the decoder; overwrites gradient (V, H).");
}
