// Exact weights of chosen vocabulary columns: the float32 sums that define the result.
#pragma once

#include <cstdint>
#include <span>

#include "cpu_kernels.hpp"
#include "decoder_panels.hpp"
#include "token_rows.hpp"

namespace lexlip {

// A weight of at least 0 as an integer of the same order, which is what top_k.hpp ranks.
std::int32_t order_key(float weight);
float weight_of(std::int32_t order_key);

// What becomes of the largest logit x of a term: log1p(relu(x)), or x + 1 where x > 0 and exp(x) elsewhere.
enum class Saturation { kLog1pRelu, kElu1p };

// Correctly rounded but for one case in millions.
float saturate(float logit, Saturation saturation);

// A logit below which every weight is 0.
float least_useful_logit(Saturation saturation);

// A logit below which every weight is smaller than this one.
float least_logit(float weight, Saturation saturation);

// weights (rows, columns): the weight of every column in every row. A column is transposed once for all rows.
void weigh_columns(const Decoder& decoder, std::span<const TokenRow> rows,
                   std::span<const std::int32_t> columns, Saturation saturation, const CpuKernels& kernels,
                   std::int64_t threads, std::span<float> weights);

// weights (columns,): what each column would weigh if `tokens[i]` of the row were its only token. The path
// must be one that scans.
void weigh_pairs(const Decoder& decoder, const TokenRow& row, std::span<const std::int32_t> columns,
                 std::span<const std::int32_t> tokens, Saturation saturation, const CpuKernels& kernels,
                 std::int64_t threads, std::span<float> weights);

}  // namespace lexlip
