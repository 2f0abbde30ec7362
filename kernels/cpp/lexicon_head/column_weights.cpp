#include "column_weights.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "parallel.hpp"

namespace lexlip {

namespace {

using std::int32_t;
using std::int64_t;
using std::size_t;

// panel (hidden, 32) = the chosen rows of the weight; what lies behind the last one is never looked at. A
// block of channels at a time: one cache line of each row is read, and the block that is written stays in L1.
void transpose(const Decoder& decoder, std::span<const int32_t> columns, std::span<float> panel) {
  constexpr int64_t kBlock = 16;
  const int64_t hidden = decoder.hidden();
  for (int64_t first = 0; first < hidden; first += kBlock) {
    const int64_t last = std::min(first + kBlock, hidden);
    for (size_t c = 0; c < columns.size(); ++c) {
      const float* weights = decoder.weight.data() + columns[c] * hidden;
      float* out = panel.data() + c;
      for (int64_t i = first; i < last; ++i) out[i * kPanelColumns] = weights[i];
    }
  }
}

void weigh_panel(const Decoder& decoder, const TokenRow& row, std::span<const int32_t> columns,
                 std::span<const float> panel, Saturation saturation, const CpuKernels& kernels,
                 std::span<float> weights) {
  std::array<float, kPanelColumns> maxima;
  kernels.max_logits(row.tokens().data(), std::ssize(row.tokens()), decoder.hidden(), panel.data(),
                     maxima.data());
  for (size_t c = 0; c < columns.size(); ++c)
    weights[c] = saturate(maxima[c] + decoder.bias[static_cast<size_t>(columns[c])], saturation);
}

}  // namespace

std::int32_t order_key(float weight) { return std::bit_cast<std::int32_t>(weight); }

float weight_of(std::int32_t order_key) { return std::bit_cast<float>(order_key); }

float saturate(float logit, Saturation saturation) {
  const auto x = static_cast<double>(logit);
  if (saturation == Saturation::kElu1p) return static_cast<float>(logit > 0 ? x + 1 : std::exp(x));
  return logit > 0 ? static_cast<float>(std::log1p(x)) : 0;
}

float least_useful_logit(Saturation saturation) {
  // exp(-104) is less than half of the smallest float32.
  return saturation == Saturation::kElu1p ? -104 : 0;
}

float least_logit(float weight, Saturation saturation) {
  if (saturation == Saturation::kLog1pRelu)
    // Logits that differ may round to one weight: the margin is 16 times what rounding can take.
    return static_cast<float>(std::expm1(static_cast<double>(weight) * (1 - 0x1p-20)));
  // Here a logit of -104 rounds to float32 as well, which takes 2^-18 of its weight, and weights below the
  // smallest normal float32 are rounded by a constant.
  const double less = static_cast<double>(weight) * (1 - 0x1p-16) - 0x1p-149;
  if (less <= 0) return -std::numeric_limits<float>::infinity();
  return static_cast<float>(less > 1 ? less - 1 : std::log(less));
}

void weigh_columns(const Decoder& decoder, std::span<const TokenRow> rows,
                   std::span<const std::int32_t> columns, Saturation saturation, const CpuKernels& kernels,
                   std::int64_t threads, std::span<float> weights) {
  // Tasks of several panels share one scratch; enough of them remain to even out threads of unequal speed.
  const int64_t panels = (std::ssize(columns) + kPanelColumns - 1) / kPanelColumns;
  const int64_t group = std::max<int64_t>(1, panels / (8 * threads)) * kPanelColumns;
  const int64_t tasks = (std::ssize(columns) + group - 1) / group;
  parallel_for(tasks, threads, [&](int64_t task) {
    AlignedVector<float> panel(static_cast<size_t>(decoder.hidden() * kPanelColumns));
    const int64_t end = std::min((task + 1) * group, std::ssize(columns));
    for (int64_t first = task * group; first < end; first += kPanelColumns) {
      const auto count = static_cast<size_t>(std::min(kPanelColumns, end - first));
      const auto chosen = columns.subspan(static_cast<size_t>(first), count);
      transpose(decoder, chosen, panel);
      for (size_t row = 0; row < rows.size(); ++row)
        weigh_panel(decoder, rows[row], chosen, panel, saturation, kernels,
                    weights.subspan(row * columns.size() + static_cast<size_t>(first), count));
    }
  });
}

void weigh_pairs(const Decoder& decoder, const TokenRow& row, std::span<const int32_t> columns,
                 std::span<const int32_t> tokens, Saturation saturation, const CpuKernels& kernels,
                 int64_t threads, std::span<float> weights) {
  constexpr int64_t kGroup = 64;
  parallel_for((std::ssize(columns) + kGroup - 1) / kGroup, threads, [&](int64_t task) {
    const auto first = static_cast<size_t>(task * kGroup);
    const size_t count = std::min<size_t>(kGroup, columns.size() - first);
    std::array<const float*, kGroup> left{}, right{};
    std::array<float, kGroup> logits{};
    for (size_t i = 0; i < count; ++i) {
      left[i] = row.tokens()[static_cast<size_t>(tokens[first + i])];
      right[i] = decoder.weight.data() + columns[first + i] * decoder.hidden();
    }
    kernels.single_logits(left.data(), right.data(), static_cast<int64_t>(count), decoder.hidden(),
                          logits.data());
    for (size_t i = 0; i < count; ++i)
      weights[first + i] =
          saturate(logits[i] + decoder.bias[static_cast<size_t>(columns[first + i])], saturation);
  });
}

}  // namespace lexlip
