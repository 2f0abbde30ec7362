// The lexicon head: hidden states to the k heaviest terms of each row,
//
//     weight[v] = f(max over tokens l of (hidden[l] . W[v]) + b[v])
//
// f being log1p(relu(x)) or elu1p, without ever holding a logit outside of registers and the L1 cache.
// `exact` scans the vocabulary in int8, keeps every column whose error bound allows it among the k best, and
// computes those in float32; the result is that of the float32 sums, bit for bit.
#pragma once

#include <cstdint>
#include <span>

#include "column_weights.hpp"
#include "cpu_kernels.hpp"
#include "decoder_panels.hpp"
#include "token_rows.hpp"

namespace lexlip {

// What a head computes beside the k heaviest terms.
struct HeadRule {
  Saturation saturation = Saturation::kLog1pRelu;
  bool normalise = false;               // divide by the L2 norm of all weights of a row
  std::span<const std::int64_t> own{};  // (rows, owned): terms to keep whatever they weigh; -1 is none
  std::int64_t owned = 0;
};

struct RankedTerms {
  std::span<std::int64_t> ids;     // (rows, k + owned), -1 where padded
  std::span<float> weights;        // (rows, k + owned), 0 where padded
  std::span<std::int32_t> counts;  // (rows,)
};

// bounds (rows, vocabulary): no float32 logit, bias included, is larger; -inf in a row without tokens. This
// is what the scan of `exact` computes, for those who want to see how much it leaves to do. Rows must fit
// (TokenRow::fits), and the path must be one that scans.
void upper_bounds(const Decoder& decoder, const HiddenStates& hidden, std::int64_t threads,
                  const CpuKernels& kernels, std::span<float> bounds);

// Overwrites all of `out`, weight descending, then id ascending. Returns the first row that holds a NaN or an
// infinity or whose logits might overflow, or -1; in the first case `out` is worth nothing. The result
// depends neither on `threads` nor on `exact`; but the last bits of a norm, which both sum up from float32
// logits, do on `exact` and on the path, whose logits may add their products in another order.
std::int64_t lexicon_head(const Decoder& decoder, const HiddenStates& hidden, std::int64_t k, bool exact,
                          std::int64_t threads, const CpuKernels& kernels, const RankedTerms& out,
                          const HeadRule& rule = {});

}  // namespace lexlip
