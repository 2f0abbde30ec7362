#include "impact_index.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <utility>
#include <vector>

#include "parallel.hpp"
#include "top_k.hpp"

namespace lexlip {
namespace {

using std::int32_t;
using std::int64_t;
using std::size_t;
using std::uint16_t;
using std::uint32_t;

// Documents scored at a time: 256 KiB of accumulators stay in the L2 cache of any server processor.
constexpr int64_t kBlockDocs = int64_t{1} << 16;

// A single query is split between threads only into pieces that take longer than starting a thread.
constexpr int64_t kMinDocsPerThread = int64_t{1} << 15;

// Signed sizes index spans throughout; this is the one place where they turn unsigned.
template <typename T>
T& at(std::span<T> values, int64_t i) {
  return values[static_cast<size_t>(i)];
}

// A query term's place in its posting list.
struct Cursor {
  int64_t next;
  int64_t end;
  int32_t weight;
};

struct DocRange {
  int64_t first;
  int64_t last;
};

std::vector<Cursor> open_cursors(const Postings& index, const ImpactRows& queries, int64_t query,
                                 int64_t first_doc) {
  std::vector<Cursor> cursors;
  for (int64_t i = at(queries.offsets, query); i < at(queries.offsets, query + 1); ++i) {
    const int64_t term = at(queries.terms, i);
    const auto begin = index.docs.begin() + at(index.term_offsets, term);
    const auto end = index.docs.begin() + at(index.term_offsets, term + 1);
    const auto next = std::lower_bound(begin, end, first_doc);
    cursors.push_back({next - index.docs.begin(), end - index.docs.begin(), at(queries.impacts, i)});
  }
  return cursors;
}

// Adds one term's postings that fall into the block; true if there were any.
bool add_postings(const Postings& index, Cursor& cursor, uint32_t first_doc, std::span<int32_t> scores) {
  const int32_t* docs = index.docs.data();
  const uint16_t* impacts = index.impacts.data();
  int64_t i = cursor.next;
  for (; i < cursor.end; ++i) {
    // Unsigned, so that a document before the block (a damaged index file) ends the loop like one behind it.
    const uint32_t slot = static_cast<uint32_t>(docs[i]) - first_doc;
    if (slot >= scores.size()) break;
    scores[slot] += cursor.weight * impacts[i];
  }
  return std::exchange(cursor.next, i) != i;
}

// Offers the block's scores and clears them. Most stretches hold no candidate: a vectorised test skips them.
void drain(std::span<int32_t> scores, int64_t first_doc, TopK& top) {
  constexpr size_t kStretch = 64;
  for (size_t start = 0; start < scores.size(); start += kStretch) {
    const std::span<int32_t> stretch = scores.subspan(start, std::min(kStretch, scores.size() - start));
    const int32_t threshold = top.threshold();
    int32_t candidates = 0;
    for (const int32_t score : stretch) candidates |= score > threshold;
    if (candidates) {
      for (size_t i = 0; i < stretch.size(); ++i) {
        const int64_t row = first_doc + static_cast<int64_t>(start + i);
        if (stretch[i] > top.threshold()) top.offer({stretch[i], static_cast<int32_t>(row)});
      }
    }
    std::fill(stretch.begin(), stretch.end(), 0);
  }
}

// The best k documents of a range, best first. Term at a time within a block, block after block.
std::vector<Hit> best_in_range(const Postings& index, const ImpactRows& queries, int64_t query,
                               DocRange range, int64_t k) {
  std::vector<Cursor> cursors = open_cursors(index, queries, query, range.first);
  std::vector<int32_t> scores(static_cast<size_t>(std::min(kBlockDocs, range.last - range.first)));
  TopK top(static_cast<size_t>(k));
  for (int64_t first = range.first; first < range.last; first += kBlockDocs) {
    const int64_t size = std::min(kBlockDocs, range.last - first);
    const std::span<int32_t> block = std::span(scores).first(static_cast<size_t>(size));
    bool touched = false;
    for (Cursor& cursor : cursors)
      touched |= add_postings(index, cursor, static_cast<uint32_t>(first), block);
    if (touched) drain(block, first, top);
  }
  return std::move(top).finish();
}

// One query on several threads: each takes a contiguous range of documents.
std::vector<Hit> best_split(const Postings& index, const ImpactRows& queries, int64_t query, int64_t k,
                            int64_t threads) {
  const int64_t worthwhile = std::max<int64_t>(1, index.num_docs / kMinDocsPerThread);
  const int64_t parts = std::min(threads, worthwhile);
  std::vector<std::vector<Hit>> partial(static_cast<size_t>(parts));
  parallel_for(parts, parts, [&](int64_t part) {
    const DocRange range{index.num_docs * part / parts, index.num_docs * (part + 1) / parts};
    partial[static_cast<size_t>(part)] = best_in_range(index, queries, query, range, k);
  });
  std::vector<Hit> hits;
  for (const std::vector<Hit>& some : partial) hits.insert(hits.end(), some.begin(), some.end());
  keep_best(hits, static_cast<size_t>(k));
  return hits;
}

void write_row(const std::vector<Hit>& hits, std::span<int32_t> rows, std::span<int32_t> scores) {
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i] = i < hits.size() ? hits[i].row : -1;
    scores[i] = i < hits.size() ? hits[i].score : 0;
  }
}

}  // namespace

void build_postings(const ImpactRows& documents, std::span<int64_t> term_offsets, std::span<int32_t> docs,
                    std::span<uint16_t> impacts) {
  std::fill(term_offsets.begin(), term_offsets.end(), 0);
  for (const int32_t term : documents.terms) ++at(term_offsets, int64_t{term} + 1);
  std::partial_sum(term_offsets.begin(), term_offsets.end(), term_offsets.begin());

  std::vector<int64_t> next(term_offsets.begin(), term_offsets.end() - 1);
  const int64_t num_docs = std::ssize(documents.offsets) - 1;
  for (int64_t doc = 0; doc < num_docs; ++doc) {
    for (int64_t i = at(documents.offsets, doc); i < at(documents.offsets, doc + 1); ++i) {
      const int64_t slot = next[static_cast<size_t>(at(documents.terms, i))]++;
      at(docs, slot) = static_cast<int32_t>(doc);
      at(impacts, slot) = static_cast<uint16_t>(at(documents.impacts, i));
    }
  }
}

void search(const Postings& index, const ImpactRows& queries, int64_t k, int64_t threads,
            std::span<int32_t> rows, std::span<int32_t> scores) {
  const int64_t num_queries = std::ssize(queries.offsets) - 1;
  const auto search_one = [&](int64_t query, int64_t threads_each) {
    const auto start = static_cast<size_t>(query * k);
    const auto length = static_cast<size_t>(k);
    const std::vector<Hit> hits =
        best_split(index, queries, query, std::min(k, index.num_docs), threads_each);
    write_row(hits, rows.subspan(start, length), scores.subspan(start, length));
  };
  if (num_queries >= threads) {
    parallel_for(num_queries, threads, [&](int64_t query) { search_one(query, 1); });
  } else {
    for (int64_t query = 0; query < num_queries; ++query) search_one(query, threads);
  }
}

}  // namespace lexlip
