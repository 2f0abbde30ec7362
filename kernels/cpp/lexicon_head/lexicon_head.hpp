// The lexicon head: hidden states to the k heaviest terms of each row,
//
//     weight[v] = log1p(relu(max over tokens l of (hidden[l] . W[v]) + b[v]))
//
// without ever holding a logit outside of registers and the L1 cache. `exact` scans the vocabulary in int8,
// keeps every column whose error bound allows it among the k best, and computes those in float32; the result
// is that of the float32 sums, bit for bit.
#pragma once

#include <cstdint>
#include <span>

#include "cpu_kernels.hpp"
#include "decoder_panels.hpp"
#include "token_rows.hpp"

namespace lexlip {

struct RankedTerms {
  std::span<std::int64_t> ids;     // (rows, k), -1 where padded
  std::span<float> weights;        // (rows, k), 0 where padded
  std::span<std::int32_t> counts;  // (rows,)
};

// bounds (rows, vocabulary): no float32 logit, bias included, is larger; -inf in a row without tokens. This
// is what the scan of `exact` computes, for those who want to see how much it leaves to do. Rows must fit
// (TokenRow::fits), and the path must be one that scans.
void upper_bounds(const Decoder& decoder, const HiddenStates& hidden, std::int64_t threads,
                  const CpuKernels& kernels, std::span<float> bounds);

// Overwrites all of `out`, weight descending, then id ascending. Returns the first row that holds a NaN or an
// infinity or whose logits might overflow, or -1; in the first case `out` is worth nothing. The result
// depends neither on `threads` nor on `exact`.
std::int64_t lexicon_head(const Decoder& decoder, const HiddenStates& hidden, std::int64_t k, bool exact,
                          std::int64_t threads, const CpuKernels& kernels, const RankedTerms& out);

}  // namespace lexlip
