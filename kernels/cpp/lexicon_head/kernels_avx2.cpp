// Inner loops for AVX2 with FMA (Haswell, Zen 1 and later).
//
// vpmaddubsw adds two products in 16 bits: 2 x 127 x 127 fit, 2 x 255 x 127 would saturate. Hence 63 levels
// for hidden values here (7 bits with their offset), and a wider error bound than with VNNI.
#include "cpu_kernels.hpp"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#include "panel_loops.hpp"
#include "unroll.hpp"

namespace lexlip {
namespace {

// 16 registers hold the sums of 6 tokens and 16 columns, so a panel is walked in two stripes.
constexpr std::int64_t kStripe = 16;

struct Tile {
  static constexpr int kDotTokens = 6;
  static constexpr int kLogitTokens = 6;

  template <int T>
  static void dots(const std::uint8_t* tokens, std::int64_t depth, const std::int8_t* panel,
                   std::int32_t* out) {
    for (std::int64_t stripe = 0; stripe < kPanelColumns; stripe += kStripe)
      dots_of_stripe<T>(tokens, depth, panel + 4 * stripe, out + stripe);
  }

  template <int T>
  static void logits(const float* const* tokens, std::int64_t hidden, const float* panel, float* out) {
    for (std::int64_t stripe = 0; stripe < kPanelColumns; stripe += kStripe)
      logits_of_stripe<T>(tokens, hidden, panel + stripe, out + stripe);
  }

  // N single logits, channels of each side by side in 16 lanes.
  template <int N>
  static void lane_logits(const float* const* tokens, const float* const* columns, std::int64_t hidden,
                          float* logits) {
    __m256 sums[N * 2];
    unroll<N * 2>([&](int s) LEXLIP_INLINE { sums[s] = _mm256_setzero_ps(); });
    std::int64_t i = 0;
    for (; i + 16 <= hidden; i += 16)
      unroll<N * 2>([&](int s) LEXLIP_INLINE {
        const std::int64_t at = i + s % 2 * 8;
        sums[s] = _mm256_fmadd_ps(_mm256_loadu_ps(tokens[s / 2] + at), _mm256_loadu_ps(columns[s / 2] + at),
                                  sums[s]);
      });
    unroll<N>([&](int n) LEXLIP_INLINE {
      alignas(32) float lanes[8];
      _mm256_store_ps(lanes, _mm256_add_ps(sums[2 * n], sums[2 * n + 1]));
      for (std::int64_t rest = i; rest < hidden; ++rest)
        lanes[rest % 8] = __builtin_fmaf(tokens[n][rest], columns[n][rest], lanes[rest % 8]);
      logits[n] =
          ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
    });
  }

  // Which of 32 values reach their limits, bit by bit.
  static std::uint32_t reached(const float* values, const float* limits) {
    std::uint32_t bits = 0;
    unroll<4>([&](int j) LEXLIP_INLINE {
      const __m256 there =
          _mm256_cmp_ps(_mm256_loadu_ps(values + 8 * j), _mm256_loadu_ps(limits + 8 * j), _CMP_GE_OQ);
      bits |= static_cast<std::uint32_t>(_mm256_movemask_ps(there)) << (8 * j);
    });
    return bits;
  }

 private:
  template <int T>
  static void dots_of_stripe(const std::uint8_t* tokens, std::int64_t depth, const std::int8_t* columns,
                             std::int32_t* out) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sums[T * 2];
    unroll<T * 2>([&](int s) LEXLIP_INLINE { sums[s] = _mm256_setzero_si256(); });
    for (std::int64_t i = 0; i < depth; i += 4, columns += 4 * kPanelColumns) {
      const __m256i halves[2] = {load(columns), load(columns + 32)};
      unroll<T>([&](int t) LEXLIP_INLINE {
        std::int32_t four;
        __builtin_memcpy(&four, tokens + t * depth + i, 4);
        const __m256i token = _mm256_set1_epi32(four);
        unroll<2>([&](int j) LEXLIP_INLINE {
          const __m256i products = _mm256_madd_epi16(_mm256_maddubs_epi16(token, halves[j]), ones);
          sums[2 * t + j] = _mm256_add_epi32(sums[2 * t + j], products);
        });
      });
    }
    unroll<T * 2>([&](int s) LEXLIP_INLINE {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + s / 2 * kPanelColumns + s % 2 * 8), sums[s]);
    });
  }

  template <int T>
  static void logits_of_stripe(const float* const* tokens, std::int64_t hidden, const float* columns,
                               float* out) {
    __m256 sums[T * 2];
    unroll<T * 2>([&](int s) LEXLIP_INLINE { sums[s] = _mm256_setzero_ps(); });
    for (std::int64_t i = 0; i < hidden; ++i, columns += kPanelColumns) {
      const __m256 halves[2] = {_mm256_loadu_ps(columns), _mm256_loadu_ps(columns + 8)};
      unroll<T>([&](int t) LEXLIP_INLINE {
        const __m256 token = _mm256_broadcast_ss(tokens[t] + i);
        unroll<2>([&](int j) LEXLIP_INLINE {
          sums[2 * t + j] = _mm256_fmadd_ps(token, halves[j], sums[2 * t + j]);
        });
      });
    }
    unroll<T * 2>([&](int s)
                      LEXLIP_INLINE { _mm256_storeu_ps(out + s / 2 * kPanelColumns + s % 2 * 8, sums[s]); });
  }

  static __m256i load(const std::int8_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
};

constexpr CpuKernels kKernels{"avx2",
                              63,
                              quantise<Tile>,
                              upper_bounds<Tile>,
                              scanned_maxima<Tile>,
                              max_logits<Tile>,
                              single_logits<Tile>};

}  // namespace

const CpuKernels* avx2_kernels() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kKernels : nullptr;
}

}  // namespace lexlip
#else
const lexlip::CpuKernels* lexlip::avx2_kernels() { return nullptr; }
#endif
