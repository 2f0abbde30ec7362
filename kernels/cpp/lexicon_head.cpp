#include "lexicon_head.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <numeric>
#include <vector>

#include "column_weights.hpp"
#include "parallel.hpp"
#include "top_k.hpp"

namespace lexlip {
namespace {

using std::int32_t;
using std::int64_t;
using std::size_t;

// Rows are worked on in chunks whose quantised tokens and one float per term take at most about this much.
constexpr int64_t kChunkBytes = int64_t{8} << 20;

int64_t rows_per_chunk(const Decoder& decoder, const HiddenStates& hidden) {
  const int64_t token_bytes = packed_depth(decoder.hidden()) + 32;
  const int64_t row_bytes = hidden.tokens * token_bytes + 4 * decoder.vocabulary();
  return std::max<int64_t>(1, kChunkBytes / row_bytes);
}

// The rows of one chunk, and one number per row and term: its weight, or the upper bound of its logit.
struct Chunk {
  std::vector<TokenRow> rows;
  std::vector<float> terms;

  std::span<float> of_row(int64_t row) {
    const size_t vocabulary = terms.size() / rows.size();
    return std::span(terms).subspan(static_cast<size_t>(row) * vocabulary, vocabulary);
  }
};

std::vector<int32_t> first_integers(int64_t count) {
  std::vector<int32_t> integers(static_cast<size_t>(count));
  std::iota(integers.begin(), integers.end(), 0);
  return integers;
}

// chunk.terms = for each term a number that its logit, bias included, does not exceed.
void scan(const Decoder& decoder, Chunk& chunk, const CpuKernels& kernels, int64_t threads) {
  const int64_t rows = std::ssize(chunk.rows);
  parallel_for(decoder.panels() * rows, threads, [&](int64_t task) {
    const int64_t panel = task / rows;
    const int64_t row = task % rows;
    float bounds[kPanelColumns];
    kernels.upper_bounds(chunk.rows[static_cast<size_t>(row)].quantised(), panel_of(decoder, panel), bounds);
    const auto first = static_cast<size_t>(panel * kPanelColumns);
    const std::span<float> terms = chunk.of_row(row).subspan(first);
    const size_t count = std::min<size_t>(kPanelColumns, terms.size());
    for (size_t c = 0; c < count; ++c) terms[c] = bounds[c] + decoder.bias[first + c];
  });
}

// Adds the terms of weight above 0.
void append_hits(std::span<const int32_t> columns, std::span<const float> weights, std::vector<Hit>& hits) {
  for (size_t i = 0; i < columns.size(); ++i)
    if (weights[i] > 0) hits.push_back({order_key(weights[i]), columns[i]});
}

// The best k of a scanned row, best first. The k terms of largest bound are computed first: the k-th weight among
// them is a lower bound of the k-th best weight of all, so a term whose own bound stays below it is out. All
// others are computed too, however many that are.
std::vector<Hit> best_of_bounds(const Decoder& decoder, const TokenRow& row, std::span<const float> bounds,
                                size_t k, const CpuKernels& kernels, int64_t threads) {
  std::vector<int32_t> candidates;
  for (size_t v = 0; v < bounds.size(); ++v)
    if (bounds[v] > 0) candidates.push_back(static_cast<int32_t>(v));
  const auto bound = [&](int32_t v) { return bounds[static_cast<size_t>(v)]; };
  const auto higher = [&](int32_t a, int32_t b) { return bound(a) > bound(b); };

  std::vector<Hit> hits;
  std::vector<float> weights(candidates.size());
  const auto weigh = [&](std::span<const int32_t> columns) {
    const std::span<float> out = std::span(weights).first(columns.size());
    weigh_columns(decoder, {&row, 1}, columns, kernels, threads, out);
    append_hits(columns, out, hits);
  };

  const size_t first = std::min(k, candidates.size());
  const auto rest = candidates.begin() + static_cast<std::ptrdiff_t>(first);
  std::nth_element(candidates.begin(), rest, candidates.end(), higher);
  weigh(std::span(candidates).first(first));
  keep_best(hits, k);
  const float least = hits.size() < k ? 0 : least_logit(weight_of(hits.back().score));
  const auto end = std::partition(rest, candidates.end(), [&](int32_t v) { return bound(v) >= least; });
  weigh({rest, end});
  keep_best(hits, k);
  return hits;
}

std::vector<Hit> best_of_weights(std::span<const float> weights, size_t k) {
  std::vector<Hit> hits;
  append_hits(first_integers(std::ssize(weights)), weights, hits);
  keep_best(hits, k);
  return hits;
}

void write_row(const std::vector<Hit>& hits, int64_t row, int64_t k, const RankedTerms& out) {
  const auto start = static_cast<size_t>(row * k);
  for (size_t i = 0; i < static_cast<size_t>(k); ++i) {
    const bool hit = i < hits.size();
    out.ids[start + i] = hit ? hits[i].row : -1;
    out.weights[start + i] = hit ? weight_of(hits[i].score) : 0;
  }
  out.counts[static_cast<size_t>(row)] = static_cast<int32_t>(hits.size());
}

// Calls task(row, threads left for it): threads take rows, or share each row where there are fewer rows than threads.
template <typename Task>
void for_each_row(int64_t rows, int64_t threads, const Task& task) {
  if (rows >= threads) {
    parallel_for(rows, threads, [&](int64_t row) { task(row, 1); });
  } else {
    for (int64_t row = 0; row < rows; ++row) task(row, threads);
  }
}

}  // namespace

int64_t lexicon_head(const Decoder& decoder, const HiddenStates& hidden, int64_t k, bool exact, int64_t threads,
                     const CpuKernels& kernels, const RankedTerms& out) {
  const bool scanned = exact && kernels.levels > 0;
  const auto kept = static_cast<size_t>(std::min(k, decoder.vocabulary()));
  const int64_t step = rows_per_chunk(decoder, hidden);
  for (int64_t first = 0; first < hidden.rows; first += step) {
    Chunk chunk;
    for (int64_t row = first; row < std::min(first + step, hidden.rows); ++row) {
      chunk.rows.emplace_back(hidden, row, kernels, scanned);
      if (!chunk.rows.back().fits(decoder.largest_norm)) return row;
    }
    chunk.terms.resize(chunk.rows.size() * static_cast<size_t>(decoder.vocabulary()));
    if (scanned)
      scan(decoder, chunk, kernels, threads);
    else
      weigh_columns(decoder, chunk.rows, first_integers(decoder.vocabulary()), kernels, threads, chunk.terms);

    for_each_row(std::ssize(chunk.rows), threads, [&](int64_t row, int64_t threads_each) {
      const std::span<const float> terms = chunk.of_row(row);
      const TokenRow& tokens = chunk.rows[static_cast<size_t>(row)];
      write_row(scanned ? best_of_bounds(decoder, tokens, terms, kept, kernels, threads_each)
                        : best_of_weights(terms, kept),
                first + row, k, out);
    });
  }
  return -1;
}

}  // namespace lexlip
