#include "decoder_panels.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <vector>

#include "cpu_dispatch.hpp"
#include "parallel.hpp"

namespace lexlip {
namespace {

using std::int32_t;
using std::int64_t;
using std::int8_t;
using std::size_t;

// Levels of a weight; sums of products with 7 or 8 bit hidden values then fit vpmaddubsw and vpdpbusd.
constexpr int32_t kWeightLevels = 127;

// Relative error of a float32 dot product of `hidden` terms in any order (gamma_n of Higham, with room to
// spare).
double rounding_bound(int64_t hidden) { return 1.01 * static_cast<double>(hidden + 2) * 0x1p-24; }

// Writes one column's bookkeeping: norm bounds both the column and its quantised form, residual covers the
// roundings of the float32 sum as well.
void describe(const Quantised& column, int64_t hidden, size_t v, const DecoderPanels& out) {
  constexpr float kUp = 1 + 0x1p-20F;
  out.scale[v] = column.scale;
  out.norm[v] = (column.norm + column.residual) * kUp;
  out.residual[v] = (column.residual + static_cast<float>(rounding_bound(hidden)) * out.norm[v]) * kUp;
}

// Copies a column into its place among the 32 of its panel.
void place(std::span<const std::uint8_t> column, size_t v, const DecoderPanels& out) {
  constexpr size_t kColumns = kPanelColumns;
  const size_t depth = column.size();
  int8_t* panel = out.values.data() + v / kColumns * kColumns * depth + v % kColumns * 4;
  int32_t sum = 0;
  for (size_t i = 0; i < depth; ++i) {
    const auto value = static_cast<int8_t>(column[i]);
    panel[i / 4 * kColumns * 4 + i % 4] = value;
    sum += value;
  }
  out.sums[v] = sum;
}

}  // namespace

QuantisedPanel panel_of(const Decoder& decoder, int64_t panel) {
  const int64_t first = panel * kPanelColumns;
  return {decoder.values.data() + first * packed_depth(decoder.hidden()), decoder.sums.data() + first,
          decoder.scale.data() + first, decoder.norm.data() + first, decoder.residual.data() + first};
}

int64_t pack_decoder(std::span<const float> weight, int64_t vocabulary, int64_t threads,
                     const DecoderPanels& out) {
  const int64_t hidden = std::ssize(weight) / vocabulary;
  const CpuKernels& kernels = *cpu_paths().front();
  std::atomic<int64_t> refused{vocabulary};
  parallel_for(std::ssize(out.sums) / kPanelColumns, threads, [&](int64_t panel) {
    std::vector<std::uint8_t> values(static_cast<size_t>(packed_depth(hidden)));
    for (int64_t v = panel * kPanelColumns; v < (panel + 1) * kPanelColumns; ++v) {
      std::fill(values.begin(), values.end(), std::uint8_t{0});
      Quantised column{0, 0, 0, true};
      if (v < vocabulary)
        column = kernels.quantise(weight.data() + v * hidden, hidden, kWeightLevels, 0, values.data());
      if (!column.finite) {
        int64_t first = refused;
        while (v < first && !refused.compare_exchange_weak(first, v)) {
        }
        return;
      }
      describe(column, hidden, static_cast<size_t>(v), out);
      place(values, static_cast<size_t>(v), out);
    }
  });
  return refused == vocabulary ? -1 : refused.load();
}

}  // namespace lexlip
