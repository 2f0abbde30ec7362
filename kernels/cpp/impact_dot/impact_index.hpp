// Exact integer top-k search over an inverted index of term impacts.
//
// Every array belongs to the caller, so that an index can live in a memory-mapped file. Nothing here checks
// its arguments: lexlip_kernels.impact_dot does, and turns what is wrong into a readable error.
#pragma once

#include <cstdint>
#include <span>

namespace lexlip {

// Rows of integer impacts in compressed sparse rows: documents when building, queries when searching.
struct ImpactRows {
  std::span<const std::int64_t> offsets;  // rows + 1
  std::span<const std::int32_t> terms;    // strictly ascending within a row
  std::span<const std::int32_t> impacts;  // >= 1
};

// Documents of a chunk, so that 16 bits number them. 256 KiB of accumulators stay in the L2 cache of any
// server processor.
constexpr std::int64_t kChunkDocs = std::int64_t{1} << 16;

// The same impacts by chunk of documents, then by term: the postings of term t in chunk c are
// [offsets[c * vocabulary + t], offsets[c * vocabulary + t + 1]). Impact is std::uint8_t or std::uint16_t.
template <typename Impact>
struct Postings {
  std::span<const std::int64_t> offsets;  // chunks * vocabulary + 1
  std::span<const std::uint16_t> docs;    // row - c * kChunkDocs, strictly ascending within term and chunk
  std::span<const Impact> impacts;
  std::int64_t num_docs;
  std::int64_t vocabulary;
};

// Transposes documents into postings, all three outputs overwritten. Counting sort: O(offsets + impacts).
template <typename Impact>
void build_postings(const ImpactRows& documents, std::int64_t vocabulary, std::span<std::int64_t> offsets,
                    std::span<std::uint16_t> docs, std::span<Impact> impacts);

// For each query the k documents with the largest dot product, score descending, then row ascending; rows of
// k entries, padded with -1 / 0 where fewer than k documents share a term with the query. Requires: no query
// can reach a score above 2^31 - 1. The result does not depend on `threads`.
template <typename Impact>
void search(const Postings<Impact>& index, const ImpactRows& queries, std::int64_t k, std::int64_t threads,
            std::span<std::int32_t> rows, std::span<std::int32_t> scores);

}  // namespace lexlip
