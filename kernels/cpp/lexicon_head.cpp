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

std::vector<int32_t> first_integers(int64_t count) {
  std::vector<int32_t> integers(static_cast<size_t>(count));
  std::iota(integers.begin(), integers.end(), 0);
  return integers;
}

// bounds (rows, vocabulary). A task is a few panels in order, so that each fetches the next, and one row.
void scan(const Decoder& decoder, std::span<const TokenRow> rows, const CpuKernels& kernels, int64_t threads,
          std::span<float> bounds) {
  constexpr int64_t kGroup = 8;
  const int64_t num_rows = std::ssize(rows);
  const int64_t groups = (decoder.panels() + kGroup - 1) / kGroup;
  parallel_for(groups * num_rows, threads, [&](int64_t task) {
    const int64_t row = task % num_rows;
    const int64_t last = std::min((task / num_rows + 1) * kGroup, decoder.panels());
    for (int64_t panel = task / num_rows * kGroup; panel < last; ++panel) {
      float of_panel[kPanelColumns];
      kernels.upper_bounds(rows[static_cast<size_t>(row)].quantised(), panel_of(decoder, panel), of_panel);
      const int64_t first = panel * kPanelColumns;
      const int64_t count = std::min(kPanelColumns, decoder.vocabulary() - first);
      float* out = bounds.data() + row * decoder.vocabulary() + first;
      for (int64_t c = 0; c < count; ++c) out[c] = of_panel[c] + decoder.bias[static_cast<size_t>(first + c)];
    }
  });
}

// Adds the terms of weight above 0.
void append_hits(std::span<const int32_t> columns, std::span<const float> weights, std::vector<Hit>& hits) {
  for (size_t i = 0; i < columns.size(); ++i)
    if (weights[i] > 0) hits.push_back({order_key(weights[i]), columns[i]});
}

// The best k of a scanned row, best first. The k terms of largest bound are computed first: the k-th weight
// among them is a lower bound of the k-th best weight of all, so a term whose own bound stays below it is
// out. All others are computed too, however many that are.
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

// Calls task(row, threads left for it): threads take rows, or share each row where there are fewer rows than
// threads.
template <typename Task>
void for_each_row(int64_t rows, int64_t threads, const Task& task) {
  if (rows >= threads) {
    parallel_for(rows, threads, [&](int64_t row) { task(row, 1); });
  } else {
    for (int64_t row = 0; row < rows; ++row) task(row, threads);
  }
}

}  // namespace

void upper_bounds(const Decoder& decoder, const HiddenStates& hidden, int64_t threads,
                  const CpuKernels& kernels, std::span<float> bounds) {
  const auto vocabulary = static_cast<size_t>(decoder.vocabulary());
  for (int64_t row = 0; row < hidden.rows; ++row) {
    const TokenRow tokens(hidden, row, kernels, true);
    scan(decoder, {&tokens, 1}, kernels, threads,
         bounds.subspan(static_cast<size_t>(row) * vocabulary, vocabulary));
  }
}

int64_t lexicon_head(const Decoder& decoder, const HiddenStates& hidden, int64_t k, bool exact,
                     int64_t threads, const CpuKernels& kernels, const RankedTerms& out) {
  const bool scanned = exact && kernels.levels > 0;
  const auto vocabulary = static_cast<size_t>(decoder.vocabulary());
  const size_t kept = std::min(static_cast<size_t>(k), vocabulary);
  const int64_t step = rows_per_chunk(decoder, hidden);
  for (int64_t first = 0; first < hidden.rows; first += step) {
    std::vector<TokenRow> rows;
    for (int64_t row = first; row < std::min(first + step, hidden.rows); ++row) {
      rows.emplace_back(hidden, row, kernels, scanned);
      if (!rows.back().fits(decoder.largest_norm)) return row;
    }
    std::vector<float> terms(rows.size() * vocabulary);  // the bounds of logits, or weights
    if (scanned)
      scan(decoder, rows, kernels, threads, terms);
    else
      weigh_columns(decoder, rows, first_integers(decoder.vocabulary()), kernels, threads, terms);

    for_each_row(std::ssize(rows), threads, [&](int64_t row, int64_t threads_each) {
      const auto i = static_cast<size_t>(row);
      const std::span<const float> of_row = std::span(terms).subspan(i * vocabulary, vocabulary);
      write_row(scanned ? best_of_bounds(decoder, rows[i], of_row, kept, kernels, threads_each)
                        : best_of_weights(of_row, kept),
                first + row, k, out);
    });
  }
  return -1;
}

}  // namespace lexlip
