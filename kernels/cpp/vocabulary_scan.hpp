// The int8 pass over the whole vocabulary: which terms, and which of their tokens, can still matter.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cpu_kernels.hpp"
#include "decoder_panels.hpp"
#include "token_rows.hpp"

namespace lexlip {

// Bounds of float32 logits, bias included, of several rows; each array (rows, vocabulary).
struct ScannedRows {
  std::vector<float> first;         // no token's logit is larger; -inf in a row without tokens
  std::vector<float> second;        // no logit of a token other than `token` is larger
  std::vector<std::int32_t> token;  // among the tokens that take part
};

ScannedRows scan_vocabulary(const Decoder& decoder, std::span<const TokenRow> rows, const CpuKernels& kernels,
                            std::int64_t threads);

}  // namespace lexlip
