// Runs the C++ core on awkward sizes, for `make sanitize`: address and undefined-behaviour sanitisers see
// every access. Values are checked against the float32 path and against invariants; Python's tests check them
// against the reference. Exits 1 with a message if something is wrong.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "impact_dot/impact_index.hpp"
#include "lexicon_head/cpu_dispatch.hpp"
#include "lexicon_head/lexicon_head.hpp"

namespace {

using std::int32_t;
using std::int64_t;
using std::size_t;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

std::vector<float> gaussian(int64_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

// Exactly as large as needed, so that one element too far is caught.
struct PackedHead {
  int64_t vocabulary, hidden;
  std::vector<float> weight, bias;
  std::vector<std::int8_t> values;
  std::vector<int32_t> sums;
  std::vector<float> scale, norm, residual;
  int64_t refused;

  PackedHead(int64_t v, int64_t h, std::mt19937& random)
      : vocabulary(v), hidden(h), weight(gaussian(v * h, random)), bias(gaussian(v, random)) {
    const int64_t padded = (v + lexlip::kPanelColumns - 1) / lexlip::kPanelColumns * lexlip::kPanelColumns;
    const auto columns = static_cast<size_t>(padded);
    values.resize(columns * static_cast<size_t>(lexlip::packed_depth(h)));
    sums.resize(columns);
    for (auto* array : {&scale, &norm, &residual}) array->resize(columns);
    pack();
  }

  void pack() {
    refused = lexlip::pack_decoder(weight, vocabulary, 3, {values, sums, scale, norm, residual});
  }

  lexlip::Decoder decoder() const { return {weight, bias, values, sums, scale, norm, residual, 1e9F}; }
};

struct Result {
  std::vector<int64_t> ids;
  std::vector<float> weights;
  std::vector<int32_t> counts;
  int64_t refused;
  bool operator==(const Result&) const = default;
};

Result run(const PackedHead& head, const lexlip::HiddenStates& hidden, int64_t k, bool exact, int64_t threads,
           const lexlip::CpuKernels& kernels, const lexlip::HeadRule& rule = {}) {
  const auto size = static_cast<size_t>(hidden.rows * k);
  Result result{std::vector<int64_t>(size, -77), std::vector<float>(size, -77),
                std::vector<int32_t>(static_cast<size_t>(hidden.rows), -77), 0};
  result.refused = lexlip::lexicon_head(head.decoder(), hidden, k, exact, threads, kernels,
                                        {result.ids, result.weights, result.counts}, rule);
  return result;
}

void check_head(int64_t rows, int64_t tokens, int64_t hidden_size, int64_t vocabulary) {
  std::mt19937 random(static_cast<unsigned>(rows + tokens + hidden_size + vocabulary));
  const PackedHead head(vocabulary, hidden_size, random);
  require(head.refused == -1, "finite weights are packed");
  std::vector<float> values = gaussian(rows * tokens * hidden_size, random);
  std::vector<std::uint8_t> mask(static_cast<size_t>(rows * tokens));
  for (std::uint8_t& kept : mask) kept = random() % 4 != 0;
  const lexlip::HiddenStates hidden{values, mask, rows, tokens, hidden_size};

  for (const lexlip::CpuKernels* kernels : lexlip::cpu_paths()) {
    for (const int64_t k : {int64_t{1}, int64_t{7}, vocabulary + 1}) {
      const Result expected = run(head, hidden, k, false, 1, *kernels);
      require(expected.refused == -1, "finite rows are ranked");
      for (const int64_t id : expected.ids) require(id >= -1 && id < vocabulary, "ids lie in the vocabulary");
      const lexlip::HeadRule norm{lexlip::Saturation::kElu1p, true};
      const Result divided = run(head, hidden, k, true, 3, *kernels, norm);
      require(divided == run(head, hidden, k, true, 1, *kernels, norm), "threads do not change a norm");
      require(divided.counts == run(head, hidden, k, false, 1, *kernels, norm).counts, "as many terms");
      for (const int64_t threads : {1, 3}) {
        require(run(head, hidden, k, true, threads, *kernels) == expected, "exact equals float32");
      }
    }
  }
}

void check_unusable_values() {
  std::mt19937 random(0);
  PackedHead head(100, 33, random);
  std::vector<float> values = gaussian(2 * 5 * 33, random);
  const std::vector<std::uint8_t> mask(10, 1);
  for (const float junk : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::max()}) {
    std::vector<float> spoilt = values;
    spoilt[5 * 33 + 7] = junk;
    for (const lexlip::CpuKernels* kernels : lexlip::cpu_paths())
      for (const bool exact : {true, false})
        require(run(head, {spoilt, mask, 2, 5, 33}, 3, exact, 2, *kernels).refused == 1, "row 1 is refused");
  }
  head.weight[40 * 33 + 2] = std::numeric_limits<float>::quiet_NaN();
  head.weight[70 * 33] = std::numeric_limits<float>::infinity();
  head.pack();
  require(head.refused == 40, "column 40 is refused");
}

template <typename Impact>
void check_impact_index(int64_t num_docs, int32_t vocabulary, int64_t k) {
  std::mt19937 random(static_cast<unsigned>(num_docs));
  std::vector<int64_t> offsets{0};
  std::vector<int32_t> terms, impacts;
  for (int64_t doc = 0; doc < num_docs; ++doc) {
    for (int32_t term = 0; term < vocabulary; ++term) {
      if (random() % 4 != 0) continue;
      terms.push_back(term);
      impacts.push_back(static_cast<int32_t>(1 + random() % 255));
    }
    offsets.push_back(static_cast<int64_t>(terms.size()));
  }
  const lexlip::ImpactRows rows{offsets, terms, impacts};
  const int64_t chunks = (num_docs + lexlip::kChunkDocs - 1) / lexlip::kChunkDocs;
  std::vector<int64_t> term_offsets(static_cast<size_t>(chunks * vocabulary) + 1);
  std::vector<std::uint16_t> docs(terms.size());
  std::vector<Impact> posting_impacts(terms.size());
  lexlip::build_postings<Impact>(rows, vocabulary, term_offsets, docs, posting_impacts);
  require(term_offsets.back() == static_cast<int64_t>(terms.size()), "every impact is posted");

  const int64_t num_queries = std::min<int64_t>(num_docs, 500);
  const lexlip::ImpactRows queries{std::span(offsets).first(static_cast<size_t>(num_queries) + 1), terms,
                                   impacts};
  const auto size = static_cast<size_t>(num_queries * k);
  std::vector<int32_t> found(size), scores(size), expected(size), expected_scores(size);
  const lexlip::Postings<Impact> index{term_offsets, docs, posting_impacts, num_docs, vocabulary};
  lexlip::search(index, queries, k, 1, expected, expected_scores);
  for (const int64_t threads : {2, 5, 700}) {
    lexlip::search(index, queries, k, threads, found, scores);
    require(found == expected && scores == expected_scores, "threads do not change a search");
  }
  for (std::uint16_t& doc : docs) doc = static_cast<std::uint16_t>(random());  // a damaged file
  lexlip::search(index, queries, k, 700, found, scores);
  for (const int32_t row : found) require(row >= -1 && row < num_docs, "rows are those of documents");
}

}  // namespace

int main() {
  for (const int64_t tokens : {0, 1, 5, 12, 13, 31})
    for (const int64_t hidden : {1, 2, 32, 65})
      for (const int64_t vocabulary : {1, 31, 33, 300}) check_head(3, tokens, hidden, vocabulary);
  check_head(0, 7, 8, 9);
  check_head(2, 49, 256, 1000);
  check_unusable_values();
  for (const int64_t num_docs : {0, 1, 7, 500})
    for (const int64_t k : {1, 3, 600}) {
      check_impact_index<std::uint8_t>(num_docs, 61, k);
      check_impact_index<std::uint16_t>(num_docs, 61, k);
    }
  for (const int64_t num_docs : {65'535, 65'536, 65'537, 140'000})
    check_impact_index<std::uint8_t>(num_docs, 5, 3);
  std::puts("C++ core: no error found");
}
