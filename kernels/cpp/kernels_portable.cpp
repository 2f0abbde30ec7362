// Inner loops for any CPU, in plain C++. No int8 scan: without dot-product instructions it would be no faster
// than the float32 sums, which are exact anyhow.
#include "cpu_kernels.hpp"
#include "panel_loops.hpp"

namespace lexlip {
namespace {

// 16 columns of a token are four SSE registers.
constexpr std::int64_t kStripe = 16;

struct Tile {
  static constexpr int kLogitTokens = 1;

  template <int T>
  static void logits(const float* const* tokens, std::int64_t hidden, const float* panel, float* out) {
    for (int t = 0; t < T; ++t) {
      for (std::int64_t stripe = 0; stripe < kPanelColumns; stripe += kStripe)
        one_token(tokens[t], hidden, panel + stripe, out + t * kPanelColumns + stripe);
    }
  }

 private:
  static void one_token(const float* token, std::int64_t hidden, const float* columns, float* out) {
    float sums[kStripe] = {};
    for (std::int64_t i = 0; i < hidden; ++i, columns += kPanelColumns)
      for (std::int64_t c = 0; c < kStripe; ++c) sums[c] += token[i] * columns[c];
    for (std::int64_t c = 0; c < kStripe; ++c) out[c] = sums[c];
  }
};

constexpr CpuKernels kKernels{"portable", 0, quantise<Tile>, nullptr, max_logits<Tile>, nullptr};

}  // namespace

const CpuKernels* portable_kernels() { return &kKernels; }

}  // namespace lexlip
