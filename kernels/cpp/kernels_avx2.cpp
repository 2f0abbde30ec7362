// Inner loops for AVX2 with FMA (Haswell, Zen 1 and later).
//
// vpmaddubsw adds two products in 16 bits: 2 x 127 x 127 fit, 2 x 255 x 127 would saturate. Hence 63 levels
// for hidden values here (7 bits with their offset), and a wider error bound than with VNNI.
#include "cpu_kernels.hpp"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#include "panel_loops.hpp"

namespace lexlip {
namespace {

// 16 registers hold the sums of 6 tokens and 16 columns, so a panel is walked in four stripes.
constexpr std::int64_t kStripe = 16;

struct Tile {
  template <int T>
  static void dots(const std::uint8_t* tokens, std::int64_t depth, const std::int8_t* panel, std::int32_t* out) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (std::int64_t stripe = 0; stripe < kPanelColumns; stripe += kStripe) {
      __m256i sums[T][2];
      for (auto& row : sums) row[0] = row[1] = _mm256_setzero_si256();
      const std::int8_t* columns = panel + 4 * stripe;
      for (std::int64_t i = 0; i < depth; i += 4, columns += 4 * kPanelColumns) {
        const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(columns));
        const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(columns + 32));
        for (int t = 0; t < T; ++t) {
          std::int32_t four;
          __builtin_memcpy(&four, tokens + t * depth + i, 4);
          const __m256i token = _mm256_set1_epi32(four);
          sums[t][0] = add_products(sums[t][0], token, low, ones);
          sums[t][1] = add_products(sums[t][1], token, high, ones);
        }
      }
      for (int t = 0; t < T; ++t)
        for (int j = 0; j < 2; ++j)
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + t * kPanelColumns + stripe + 8 * j), sums[t][j]);
    }
  }

  template <int T>
  static void logits(const float* const* tokens, std::int64_t hidden, const float* panel, float* out) {
    for (std::int64_t stripe = 0; stripe < kPanelColumns; stripe += kStripe) {
      __m256 sums[T][2];
      for (auto& row : sums) row[0] = row[1] = _mm256_setzero_ps();
      const float* columns = panel + stripe;
      for (std::int64_t i = 0; i < hidden; ++i, columns += kPanelColumns) {
        const __m256 low = _mm256_loadu_ps(columns);
        const __m256 high = _mm256_loadu_ps(columns + 8);
        for (int t = 0; t < T; ++t) {
          const __m256 token = _mm256_broadcast_ss(tokens[t] + i);
          sums[t][0] = _mm256_fmadd_ps(token, low, sums[t][0]);
          sums[t][1] = _mm256_fmadd_ps(token, high, sums[t][1]);
        }
      }
      for (int t = 0; t < T; ++t)
        for (int j = 0; j < 2; ++j) _mm256_storeu_ps(out + t * kPanelColumns + stripe + 8 * j, sums[t][j]);
    }
  }

 private:
  static __m256i add_products(__m256i sum, __m256i token, __m256i columns, __m256i ones) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(token, columns), ones));
  }
};

constexpr CpuKernels kKernels{"avx2", 63, quantise<Tile>, upper_bounds<Tile>, max_logits<Tile>};

}  // namespace

const CpuKernels* avx2_kernels() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kKernels : nullptr;
}

}  // namespace lexlip
#else
const lexlip::CpuKernels* lexlip::avx2_kernels() { return nullptr; }
#endif
