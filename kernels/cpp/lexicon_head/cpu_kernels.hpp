// The inner loops of the lexicon head, once per kind of CPU, chosen when the program runs.
//
// Each path is a translation unit compiled with its own instruction set. Those units take plain pointers and
// use nothing of the standard library: an inline function (std::max, a span's operator[]) compiled with
// AVX-512 could otherwise be the copy that the linker keeps for everybody.
#pragma once

#include <cstdint>

namespace lexlip {

// Vocabulary columns a panel: at 768 hidden channels its int8 form (24 KiB) stays in any L1 cache.
inline constexpr std::int64_t kPanelColumns = 32;

// x = scale * q + rest, with norm >= |x| and residual >= |rest| (Euclidean, rounded up).
struct Quantised {
  float scale;
  float norm;
  float residual;
  bool finite;  // false: x holds a NaN or an infinity, and nothing else here means anything
};

// The tokens of one row that take part.
struct QuantisedTokens {
  const std::uint8_t* values;  // (tokens, depth): q + offset, so that they are unsigned
  const float* scale;          // (tokens,), as are the next two
  const float* norm;
  const float* residual;
  std::int64_t tokens;
  std::int64_t depth;  // hidden size rounded up to a multiple of 64
  std::int32_t offset;
};

// 32 columns of the decoder. Four consecutive hidden channels of a column lie together, as vpdpbusd wants
// them.
struct QuantisedPanel {
  const std::int8_t* values;  // (depth / 4, 32, 4)
  const std::int32_t* sums;   // (32,): sum of a column's values, which undoes the offset
  const float* scale;         // (32,), as are the next two
  const float* norm;
  const float* residual;
};

// What a scan learns about 32 columns of one row; each (32,).
struct PanelBounds {
  float* first;         // no float32 logit of any token is larger
  float* second;        // no float32 logit of any token but `token` is larger
  std::int32_t* token;  // whose bound is `first`
};

// The float32 weights of a panel's columns, of which the last panel may have fewer than 32.
struct PanelWeights {
  const float* values;  // (columns, hidden)
  std::int64_t columns;
  std::int64_t hidden;
};

// Overwritten; each (tokens, 32).
struct PanelScratch {
  float* bounds;
  std::int32_t* pairs;
};

struct CpuKernels {
  const char* name;
  // Quantised hidden values lie in [-levels, levels]; 0: this path has no int8 arithmetic worth using.
  std::int32_t levels;
  // Rounds x (n,) to `levels` levels and writes q + offset.
  Quantised (*quantise)(const float* x, std::int64_t n, std::int32_t levels, std::int32_t offset,
                        std::uint8_t* out);
  // Overwrites bounds; -inf and token 0 without tokens.
  void (*upper_bounds)(const QuantisedTokens& row, const QuantisedPanel& panel, const PanelBounds& bounds);
  // As upper_bounds, and maxima (32,): the largest float32 logit over `tokens`, each a sum in an order of
  // this path's own. What is left of the bounds is their distance to sums in the order of the channels:
  // `second` is -inf where `token` has the largest of those as well.
  void (*scanned_maxima)(const QuantisedTokens& row, const float* const* tokens, const QuantisedPanel& panel,
                         const PanelWeights& weights, const PanelScratch& scratch, const PanelBounds& bounds,
                         float* maxima);
  // maxima (32,): largest float32 logit over tokens; panel (hidden, 32). Each logit adds its products in the
  // order of the channels, in this function and on every path, so a logit does not depend on its neighbours.
  void (*max_logits)(const float* const* tokens, std::int64_t count, std::int64_t hidden, const float* panel,
                     float* maxima);
  // logits (count,): of single tokens and single columns, the same float32 sums one by one.
  void (*single_logits)(const float* const* tokens, const float* const* columns, std::int64_t count,
                        std::int64_t hidden, float* logits);
};

// Null where this CPU, or this build, lacks the instructions.
const CpuKernels* amx_kernels();
const CpuKernels* avx512_vnni_kernels();
const CpuKernels* avx2_kernels();
const CpuKernels* portable_kernels();

}  // namespace lexlip
