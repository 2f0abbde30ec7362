#include "vocabulary_scan.hpp"

#include <algorithm>
#include <cstddef>

#include "parallel.hpp"

namespace lexlip {
namespace {

using std::int64_t;
using std::size_t;

void scan_panel(const Decoder& decoder, const QuantisedTokens& row, int64_t panel, size_t row_start,
                const CpuKernels& kernels, ScannedRows& out) {
  float first[kPanelColumns];
  float second[kPanelColumns];
  std::int32_t token[kPanelColumns];
  kernels.upper_bounds(row, panel_of(decoder, panel), {first, second, token});
  const auto column = static_cast<size_t>(panel * kPanelColumns);
  const size_t count = std::min<size_t>(kPanelColumns, decoder.bias.size() - column);
  for (size_t c = 0; c < count; ++c) {
    const size_t i = row_start + column + c;
    out.first[i] = first[c] + decoder.bias[column + c];
    out.second[i] = second[c] + decoder.bias[column + c];
    out.token[i] = token[c];
  }
}

}  // namespace

ScannedRows scan_vocabulary(const Decoder& decoder, std::span<const TokenRow> rows, const CpuKernels& kernels,
                            int64_t threads) {
  const size_t size = rows.size() * decoder.bias.size();
  ScannedRows out{std::vector<float>(size), std::vector<float>(size), std::vector<std::int32_t>(size)};
  // A task is one row and a few panels in order, so that each fetches the next.
  constexpr int64_t kGroup = 8;
  const int64_t num_rows = std::ssize(rows);
  const int64_t groups = (decoder.panels() + kGroup - 1) / kGroup;
  parallel_for(groups * num_rows, threads, [&](int64_t task) {
    const auto row = static_cast<size_t>(task % num_rows);
    const int64_t last = std::min((task / num_rows + 1) * kGroup, decoder.panels());
    for (int64_t panel = task / num_rows * kGroup; panel < last; ++panel)
      scan_panel(decoder, rows[row].quantised(), panel, row * decoder.bias.size(), kernels, out);
  });
  return out;
}

}  // namespace lexlip
