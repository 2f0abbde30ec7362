// Inner loops for any CPU, in plain C++. No int8 scan: without dot-product instructions it would be no faster
// than the float32 sums, which are exact anyhow.
#include "cpu_kernels.hpp"
#include "panel_loops.hpp"
#include "unroll.hpp"

namespace lexlip {
namespace {

// Four floats, which every 64-bit CPU adds at once (SSE, NEON); memory of any alignment.
typedef float Lanes __attribute__((vector_size(16), aligned(4), may_alias));

// 2 tokens x 16 columns are eight registers.
constexpr std::int64_t kStripe = 16;

struct Tile {
  static constexpr int kLogitTokens = 2;

  template <int T>
  static void logits(const float* const* tokens, std::int64_t hidden, const float* panel, float* out) {
    for (std::int64_t stripe = 0; stripe < kPanelColumns; stripe += kStripe)
      logits_of_stripe<T>(tokens, hidden, panel + stripe, out + stripe);
  }

 private:
  template <int T>
  static void logits_of_stripe(const float* const* tokens, std::int64_t hidden, const float* columns,
                               float* out) {
    Lanes sums[T * 4];
    unroll<T * 4>([&](int s) LEXLIP_INLINE { sums[s] = Lanes{}; });
    for (std::int64_t i = 0; i < hidden; ++i, columns += kPanelColumns) {
      unroll<T>([&](int t) LEXLIP_INLINE {
        const float token = tokens[t][i];
        unroll<4>([&](int j) LEXLIP_INLINE {
          sums[4 * t + j] += token * reinterpret_cast<const Lanes*>(columns)[j];
        });
      });
    }
    unroll<T * 4>(
        [&](int s) LEXLIP_INLINE { reinterpret_cast<Lanes*>(out + s / 4 * kPanelColumns)[s % 4] = sums[s]; });
  }
};

constexpr CpuKernels kKernels{"portable", 0, quantise<Tile>, nullptr, nullptr, max_logits<Tile>, nullptr};

}  // namespace

const CpuKernels* portable_kernels() { return &kKernels; }

}  // namespace lexlip
