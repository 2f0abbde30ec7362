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

// The same impacts by term. A posting's document ids ascend strictly within its term.
struct Postings {
  std::span<const std::int64_t> term_offsets;  // vocabulary + 1
  std::span<const std::int32_t> docs;
  std::span<const std::uint16_t> impacts;
  std::int64_t num_docs;
};

// Transposes documents into postings, all three outputs overwritten. Counting sort: O(vocabulary + impacts).
void build_postings(const ImpactRows& documents, std::span<std::int64_t> term_offsets,
                    std::span<std::int32_t> docs, std::span<std::uint16_t> impacts);

// For each query the k documents with the largest dot product, score descending, then row ascending; rows of
// k entries, padded with -1 / 0 where fewer than k documents share a term with the query. Requires: no query
// can reach a score above 2^31 - 1. The result does not depend on `threads`.
void search(const Postings& index, const ImpactRows& queries, std::int64_t k, std::int64_t threads,
            std::span<std::int32_t> rows, std::span<std::int32_t> scores);

}  // namespace lexlip
