#include "lexicon_head.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include "column_weights.hpp"
#include "parallel.hpp"
#include "top_k.hpp"

namespace lexlip {
namespace {

using std::int32_t;
using std::int64_t;
using std::size_t;

// Rows are worked on in chunks whose quantised tokens and four numbers per term take at most about this much.
constexpr int64_t kChunkBytes = int64_t{8} << 20;

int64_t rows_per_chunk(const Decoder& decoder, const HiddenStates& hidden, bool copied) {
  const int64_t token_bytes = packed_depth(decoder.hidden()) * (copied ? 5 : 1) + 32;
  const int64_t row_bytes = hidden.tokens * token_bytes + 16 * decoder.vocabulary();
  return std::max<int64_t>(1, kChunkBytes / row_bytes);
}

std::vector<int32_t> first_integers(int64_t count) {
  std::vector<int32_t> integers(static_cast<size_t>(count));
  std::iota(integers.begin(), integers.end(), 0);
  return integers;
}

// Adds the terms of weight above 0.
void append_hits(std::span<const int32_t> columns, std::span<const float> weights, std::vector<Hit>& hits) {
  for (size_t i = 0; i < columns.size(); ++i)
    if (weights[i] > 0) hits.push_back({order_key(weights[i]), columns[i]});
}

// Bounds of float32 logits, bias included, of several rows; each array (rows, vocabulary).
struct ScannedRows {
  std::vector<float> first;         // no token's logit is larger; -inf in a row without tokens
  std::vector<float> second;        // no logit of a token other than `token` is larger
  std::vector<std::int32_t> token;  // among the tokens that take part
  std::vector<float> weights;       // of the largest logits, summed in another order; only for a norm

  ScannedRows(size_t size, bool weighed)
      : first(size), second(size), token(size), weights(weighed ? size : 0) {}
};

void scan_panel(const Decoder& decoder, const TokenRow& row, int64_t panel, size_t row_start,
                const HeadRule& rule, const CpuKernels& kernels, const PanelScratch& scratch,
                ScannedRows& out) {
  float first[kPanelColumns];
  float second[kPanelColumns];
  float maxima[kPanelColumns];
  std::int32_t token[kPanelColumns];
  const auto column = static_cast<size_t>(panel * kPanelColumns);
  const size_t count = std::min<size_t>(kPanelColumns, decoder.bias.size() - column);
  const PanelWeights weights{decoder.weight.data() + panel * kPanelColumns * decoder.hidden(),
                             static_cast<int64_t>(count), decoder.hidden()};
  if (rule.normalise)
    kernels.scanned_maxima(row.quantised(), row.tokens().data(), panel_of(decoder, panel), weights, scratch,
                           {first, second, token}, maxima);
  else
    kernels.upper_bounds(row.quantised(), panel_of(decoder, panel), {first, second, token});
  for (size_t c = 0; c < count; ++c) {
    const size_t i = row_start + column + c;
    out.first[i] = first[c] + decoder.bias[column + c];
    out.second[i] = second[c] + decoder.bias[column + c];
    out.token[i] = token[c];
    if (rule.normalise) out.weights[i] = saturate(maxima[c] + decoder.bias[column + c], rule.saturation);
  }
}

// The int8 pass over the whole vocabulary: which terms, and which of their tokens, can still matter.
ScannedRows scan_vocabulary(const Decoder& decoder, std::span<const TokenRow> rows, const HeadRule& rule,
                            const CpuKernels& kernels, int64_t threads) {
  ScannedRows out(rows.size() * decoder.bias.size(), rule.normalise);
  // A task is one row and a few panels in order, so that each fetches the next.
  constexpr int64_t kGroup = 4;
  const int64_t num_rows = std::ssize(rows);
  const int64_t groups = (decoder.panels() + kGroup - 1) / kGroup;
  parallel_for(groups * num_rows, threads, [&](int64_t task) {
    const auto row = static_cast<size_t>(task % num_rows);
    const int64_t last = std::min((task / num_rows + 1) * kGroup, decoder.panels());
    const size_t room = rule.normalise ? rows[row].tokens().size() * kPanelColumns : 0;
    AlignedVector<float> bounds(room);
    std::vector<std::int32_t> pairs(room);
    for (int64_t panel = task / num_rows * kGroup; panel < last; ++panel)
      scan_panel(decoder, rows[row], panel, row * decoder.bias.size(), rule, kernels,
                 {bounds.data(), pairs.data()}, out);
  });
  return out;
}

// One row of a scan, and what it takes to follow it up.
class Candidates {
 public:
  Candidates(const Decoder& decoder, const TokenRow& row, const ScannedRows& scan, size_t start,
             Saturation saturation, const CpuKernels& kernels, int64_t threads)
      : decoder_(decoder),
        row_(row),
        scan_(scan),
        start_(start),
        saturation_(saturation),
        kernels_(kernels),
        threads_(threads) {}

  // The best k, best first. The k terms of largest bound are computed first: the k-th weight among them is a
  // lower bound of the k-th best weight of all, so a term whose own bound stays below it is out. All others
  // are computed too, however many that are.
  std::vector<Hit> best(size_t k) {
    const float useful = least_useful_logit(saturation_);
    std::vector<int32_t> candidates;
    for (int32_t v = 0; v < static_cast<int32_t>(decoder_.vocabulary()); ++v)
      if (scan_.first[place(v)] > useful) candidates.push_back(v);
    const auto rest = candidates.begin() + static_cast<std::ptrdiff_t>(std::min(k, candidates.size()));
    std::nth_element(candidates.begin(), rest, candidates.end(),
                     [&](int32_t a, int32_t b) { return scan_.first[place(a)] > scan_.first[place(b)]; });
    weigh({candidates.begin(), rest}, useful);
    keep_best(hits_, k);
    const float least = hits_.size() < k ? useful : least_logit(weight_of(hits_.back().score), saturation_);
    const auto end =
        std::partition(rest, candidates.end(), [&](int32_t v) { return scan_.first[place(v)] >= least; });
    weigh({rest, end}, least);
    keep_best(hits_, k);
    return std::move(hits_);
  }

 private:
  size_t place(int32_t v) const { return start_ + static_cast<size_t>(v); }

  // Adds the columns' terms, those of a logit below `least` perhaps with a smaller weight than theirs. Where
  // only one token can reach `least`, which is usual, its logit alone is computed.
  void weigh(std::span<int32_t> columns, float least) {
    const auto middle = std::partition(columns.begin(), columns.end(),
                                       [&](int32_t v) { return scan_.second[place(v)] >= least; });
    const std::span<const int32_t> open(columns.begin(), middle);
    const std::span<const int32_t> decided(middle, columns.end());
    std::vector<int32_t> tokens;
    for (const int32_t v : decided) tokens.push_back(scan_.token[place(v)]);
    std::vector<float> weights(columns.size());
    weigh_columns(decoder_, {&row_, 1}, open, saturation_, kernels_, threads_,
                  std::span(weights).first(open.size()));
    append_hits(open, weights, hits_);
    weigh_pairs(decoder_, row_, decided, tokens, saturation_, kernels_, threads_, weights);
    append_hits(decided, weights, hits_);
  }

  const Decoder& decoder_;
  const TokenRow& row_;
  const ScannedRows& scan_;
  size_t start_;
  Saturation saturation_;
  const CpuKernels& kernels_;
  int64_t threads_;
  std::vector<Hit> hits_;
};

// In float64 and in the order of the columns, so that nothing depends on threads or overflows.
double norm_of(std::span<const float> weights) {
  double sum = 0;
  for (const float weight : weights) sum += static_cast<double>(weight) * weight;
  return std::sqrt(sum);
}

std::vector<Hit> best_of_weights(std::span<const float> weights, size_t k) {
  std::vector<Hit> hits;
  append_hits(first_integers(std::ssize(weights)), weights, hits);
  keep_best(hits, k);
  return hits;
}

// The terms that a row keeps beside its heaviest ones, `hits`: its own, each once.
std::vector<int32_t> own_beside(const std::vector<Hit>& hits, int64_t row, const HeadRule& rule) {
  const auto start = rule.own.begin() + row * rule.owned;
  std::vector<int32_t> own;
  for (const int64_t v : std::span(start, static_cast<size_t>(rule.owned)))
    if (v >= 0) own.push_back(static_cast<int32_t>(v));
  std::sort(own.begin(), own.end());
  own.erase(std::unique(own.begin(), own.end()), own.end());
  std::vector<int32_t> there;
  for (const Hit& hit : hits) there.push_back(hit.row);
  std::sort(there.begin(), there.end());
  std::erase_if(own, [&](int32_t v) { return std::binary_search(there.begin(), there.end(), v); });
  return own;
}

// `norm` is what weights are divided by, after which some may be equal, or 0; `width` what a row of the
// output holds.
void write_row(std::vector<Hit>& hits, double norm, int64_t row, int64_t width, const RankedTerms& out) {
  if (norm != 1)
    for (Hit& hit : hits)
      hit.score = order_key(static_cast<float>(static_cast<double>(weight_of(hit.score)) / norm));
  std::erase_if(hits, [](const Hit& hit) { return hit.score == 0; });
  std::sort(hits.begin(), hits.end(), better);
  const auto start = static_cast<size_t>(row * width);
  for (size_t i = 0; i < static_cast<size_t>(width); ++i) {
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

void rank_by_scan(const Decoder& decoder, std::span<const TokenRow> rows, int64_t first, size_t kept,
                  int64_t width, const HeadRule& rule, const CpuKernels& kernels, int64_t threads,
                  const RankedTerms& out) {
  const ScannedRows scan = scan_vocabulary(decoder, rows, rule, kernels, threads);
  for_each_row(std::ssize(rows), threads, [&](int64_t row, int64_t threads_each) {
    const auto i = static_cast<size_t>(row);
    Candidates candidates(decoder, rows[i], scan, i * decoder.bias.size(), rule.saturation, kernels,
                          threads_each);
    std::vector<Hit> hits = candidates.best(kept);
    const std::vector<int32_t> own = own_beside(hits, first + row, rule);
    std::vector<float> weights(own.size());
    weigh_columns(decoder, {&rows[i], 1}, own, rule.saturation, kernels, threads_each, weights);
    append_hits(own, weights, hits);
    const auto all = std::span<const float>(scan.weights);
    const double norm =
        rule.normalise ? norm_of(all.subspan(i * decoder.bias.size(), decoder.bias.size())) : 1;
    write_row(hits, norm, first + row, width, out);
  });
}

void rank_directly(const Decoder& decoder, std::span<const TokenRow> rows, int64_t first, size_t kept,
                   int64_t width, const HeadRule& rule, const CpuKernels& kernels, int64_t threads,
                   const RankedTerms& out) {
  const size_t vocabulary = decoder.bias.size();
  std::vector<float> weights(rows.size() * vocabulary);
  weigh_columns(decoder, rows, first_integers(decoder.vocabulary()), rule.saturation, kernels, threads,
                weights);
  parallel_for(std::ssize(rows), threads, [&](int64_t row) {
    const auto of_row =
        std::span<const float>(weights).subspan(static_cast<size_t>(row) * vocabulary, vocabulary);
    std::vector<Hit> hits = best_of_weights(of_row, kept);
    for (const int32_t v : own_beside(hits, first + row, rule)) {
      const float weight = of_row[static_cast<size_t>(v)];
      if (weight > 0) hits.push_back({order_key(weight), v});
    }
    write_row(hits, rule.normalise ? norm_of(of_row) : 1, first + row, width, out);
  });
}

}  // namespace

void upper_bounds(const Decoder& decoder, const HiddenStates& hidden, int64_t threads,
                  const CpuKernels& kernels, std::span<float> bounds) {
  for (int64_t row = 0; row < hidden.rows; ++row) {
    const TokenRow tokens(hidden, row, kernels, true);
    const ScannedRows scanned = scan_vocabulary(decoder, {&tokens, 1}, {}, kernels, threads);
    std::copy(scanned.first.begin(), scanned.first.end(), bounds.begin() + row * decoder.vocabulary());
  }
}

int64_t lexicon_head(const Decoder& decoder, const HiddenStates& hidden, int64_t k, bool exact,
                     int64_t threads, const CpuKernels& kernels, const RankedTerms& out,
                     const HeadRule& rule) {
  const bool scans = exact && kernels.levels > 0;
  const int64_t width = k + rule.owned;
  const size_t kept = std::min(static_cast<size_t>(k), decoder.bias.size());
  const int64_t step = rows_per_chunk(decoder, hidden, scans && rule.normalise);
  for (int64_t first = 0; first < hidden.rows; first += step) {
    std::vector<TokenRow> rows;
    for (int64_t row = first; row < std::min(first + step, hidden.rows); ++row) {
      rows.emplace_back(hidden, row, kernels, scans, scans && rule.normalise);
      if (!rows.back().fits(decoder.largest_norm)) return row;
    }
    if (scans)
      rank_by_scan(decoder, rows, first, kept, width, rule, kernels, threads, out);
    else
      rank_directly(decoder, rows, first, kept, width, rule, kernels, threads, out);
  }
  return -1;
}

}  // namespace lexlip
