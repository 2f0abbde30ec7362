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
using std::uint8_t;

// A single query is split between threads only into pieces that take longer than starting a thread.
constexpr int64_t kMinDocsPerThread = int64_t{1} << 15;

// Signed sizes index spans throughout; this is the one place where they turn unsigned.
template <typename T>
T& at(std::span<T> values, int64_t i) {
  return values[static_cast<size_t>(i)];
}

// Rows [first, last). Within one chunk where it says so.
struct DocRange {
  int64_t first;
  int64_t last;
};

// Half-open range of the posting arrays.
struct PostingRange {
  int64_t begin;
  int64_t end;
};

// A term's postings in the chunk that starts at row `chunk`, as far as their documents lie in `range`.
template <typename Impact>
PostingRange postings_of(const Postings<Impact>& index, int64_t term, int64_t chunk, DocRange range) {
  const int64_t bucket = chunk / kChunkDocs * index.vocabulary + term;
  const auto begin = index.docs.begin() + at(index.offsets, bucket);
  const auto end = index.docs.begin() + at(index.offsets, bucket + 1);
  const auto first = range.first == chunk ? begin : std::lower_bound(begin, end, range.first - chunk);
  const bool whole = range.last == std::min(chunk + kChunkDocs, index.num_docs);
  const auto last = whole ? end : std::lower_bound(first, end, range.last - chunk);
  return {first - index.docs.begin(), last - index.docs.begin()};
}

// Adds a term's postings to the scores of their chunk. kChunkDocs accumulators take any 16-bit number; fewer
// are compared with, because the documents may be those of a damaged file.
template <typename Impact>
void add_postings(const Postings<Impact>& index, PostingRange range, int32_t weight,
                  std::span<int32_t> scores) {
  const uint16_t* docs = index.docs.data();
  const Impact* impacts = index.impacts.data();
  if (std::ssize(scores) == kChunkDocs) {
    for (int64_t i = range.begin; i < range.end; ++i) scores[docs[i]] += weight * impacts[i];
  } else {
    for (int64_t i = range.begin; i < range.end; ++i)
      if (docs[i] < scores.size()) scores[docs[i]] += weight * impacts[i];
  }
}

// Adds all postings of the query in a chunk; true if there were any.
template <typename Impact>
bool score_chunk(const Postings<Impact>& index, const ImpactRows& queries, int64_t query, int64_t chunk,
                 DocRange range, std::span<int32_t> scores) {
  bool touched = false;
  for (int64_t i = at(queries.offsets, query); i < at(queries.offsets, query + 1); ++i) {
    const PostingRange postings = postings_of(index, at(queries.terms, i), chunk, range);
    add_postings(index, postings, at(queries.impacts, i), scores);
    touched |= postings.begin != postings.end;
  }
  return touched;
}

// Offers scores and clears them. Most stretches hold no candidate: a vectorised test skips them.
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

// The best k documents of a range, best first. Term at a time within a chunk, chunk after chunk.
template <typename Impact>
std::vector<Hit> best_in_range(const Postings<Impact>& index, const ImpactRows& queries, int64_t query,
                               DocRange range, int64_t k) {
  std::vector<int32_t> scores(static_cast<size_t>(std::min(kChunkDocs, index.num_docs)));
  TopK top(static_cast<size_t>(k));
  for (int64_t first = range.first; first < range.last;) {
    const int64_t chunk = first / kChunkDocs * kChunkDocs;
    const DocRange part{first, std::min(chunk + kChunkDocs, range.last)};
    if (score_chunk(index, queries, query, chunk, part, scores)) {
      const auto start = static_cast<size_t>(first - chunk);
      drain(std::span(scores).subspan(start, static_cast<size_t>(part.last - first)), first, top);
    }
    first = part.last;
  }
  return std::move(top).finish();
}

// One query on several threads: each takes a contiguous range of documents.
template <typename Impact>
std::vector<Hit> best_split(const Postings<Impact>& index, const ImpactRows& queries, int64_t query,
                            int64_t k, int64_t threads) {
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

template <typename Impact>
void build_postings(const ImpactRows& documents, int64_t vocabulary, std::span<int64_t> offsets,
                    std::span<uint16_t> docs, std::span<Impact> impacts) {
  const int64_t num_docs = std::ssize(documents.offsets) - 1;
  const auto each = [&](const auto& visit) {
    for (int64_t doc = 0; doc < num_docs; ++doc) {
      const int64_t bucket = doc / kChunkDocs * vocabulary;
      for (int64_t i = at(documents.offsets, doc); i < at(documents.offsets, doc + 1); ++i)
        visit(bucket + at(documents.terms, i), doc, at(documents.impacts, i));
    }
  };
  std::fill(offsets.begin(), offsets.end(), 0);
  each([&](int64_t bucket, int64_t, int32_t) { ++at(offsets, bucket + 1); });
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());

  std::vector<int64_t> next(offsets.begin(), offsets.end() - 1);
  each([&](int64_t bucket, int64_t doc, int32_t impact) {
    const int64_t slot = next[static_cast<size_t>(bucket)]++;
    at(docs, slot) = static_cast<uint16_t>(doc % kChunkDocs);
    at(impacts, slot) = static_cast<Impact>(impact);
  });
}

template <typename Impact>
void search(const Postings<Impact>& index, const ImpactRows& queries, int64_t k, int64_t threads,
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

template void build_postings(const ImpactRows&, int64_t, std::span<int64_t>, std::span<uint16_t>,
                             std::span<uint8_t>);
template void build_postings(const ImpactRows&, int64_t, std::span<int64_t>, std::span<uint16_t>,
                             std::span<uint16_t>);
template void search(const Postings<uint8_t>&, const ImpactRows&, int64_t, int64_t, std::span<int32_t>,
                     std::span<int32_t>);
template void search(const Postings<uint16_t>&, const ImpactRows&, int64_t, int64_t, std::span<int32_t>,
                     std::span<int32_t>);

}  // namespace lexlip
