// The decoder of a lexicon head, packed once: int8 panels for the scan, and what bounds their error.
//
// Every array belongs to the caller. Nothing here checks its arguments: lexlip_kernels.lexicon_head does.
#pragma once

#include <cstdint>
#include <span>

#include "cpu_kernels.hpp"

namespace lexlip {

// `padded` is the vocabulary rounded up to whole panels; padding columns are 0 throughout.
struct DecoderPanels {
  std::span<std::int8_t> values;  // (padded / 32, depth / 4, 32, 4)
  std::span<std::int32_t> sums;   // (padded,), as are the next three
  std::span<float> scale;
  std::span<float> norm;
  std::span<float> residual;
};

// What a search reads: the float32 weights as they came, and their panels.
struct Decoder {
  std::span<const float> weight;  // (vocabulary, hidden)
  std::span<const float> bias;    // (vocabulary,)
  std::span<const std::int8_t> values;
  std::span<const std::int32_t> sums;
  std::span<const float> scale;
  std::span<const float> norm;
  std::span<const float> residual;
  float largest_norm;  // no column's Euclidean norm is larger

  std::int64_t vocabulary() const { return std::ssize(bias); }
  std::int64_t hidden() const { return std::ssize(weight) / vocabulary(); }
  std::int64_t panels() const { return std::ssize(sums) / kPanelColumns; }
};

// Hidden channels of a packed column or token: whole rows of AMX tiles, of 64 bytes.
constexpr std::int64_t packed_depth(std::int64_t hidden) { return (hidden + 63) / 64 * 64; }

QuantisedPanel panel_of(const Decoder& decoder, std::int64_t panel);

// Quantises weight (vocabulary, hidden) into `out`, all of it overwritten. Returns the first column that
// holds a NaN or an infinity, or -1; `out` is worth nothing in the first case.
std::int64_t pack_decoder(std::span<const float> weight, std::int64_t vocabulary, std::int64_t threads,
                          const DecoderPanels& out);

}  // namespace lexlip
