// Tiles of sums in AVX-512 registers, for the paths that have VNNI: 64 int8 products an instruction.
#pragma once

#include <immintrin.h>

#include "cpu_kernels.hpp"
#include "unroll.hpp"

namespace lexlip {
namespace {

// 12 x 32 sums fill 24 of 32 registers.
struct Avx512Tile {
  static constexpr int kDotTokens = 12;
  static constexpr int kLogitTokens = 12;

  template <int T>
  static void dots(const std::uint8_t* tokens, std::int64_t depth, const std::int8_t* panel,
                   std::int32_t* out) {
    __m512i sums[T * 2];
    unroll<T * 2>([&](int s) LEXLIP_INLINE { sums[s] = _mm512_setzero_si512(); });
    for (std::int64_t i = 0; i < depth; i += 4, panel += 4 * kPanelColumns) {
      __m512i columns[2];
      unroll<2>([&](int j) LEXLIP_INLINE { columns[j] = _mm512_loadu_si512(panel + 64 * j); });
      unroll<T>([&](int t) LEXLIP_INLINE {
        std::int32_t four;
        __builtin_memcpy(&four, tokens + t * depth + i, 4);
        const __m512i token = _mm512_set1_epi32(four);
        unroll<2>([&](int j) LEXLIP_INLINE {
          sums[2 * t + j] = _mm512_dpbusd_epi32(sums[2 * t + j], token, columns[j]);
        });
      });
    }
    unroll<T * 2>([&](int s) LEXLIP_INLINE { _mm512_storeu_si512(out + 16 * s, sums[s]); });
  }

  template <int T>
  static void logits(const float* const* tokens, std::int64_t hidden, const float* panel, float* out) {
    __m512 sums[T * 2];
    unroll<T * 2>([&](int s) LEXLIP_INLINE { sums[s] = _mm512_setzero_ps(); });
    for (std::int64_t i = 0; i < hidden; ++i, panel += kPanelColumns) {
      __m512 columns[2];
      unroll<2>([&](int j) LEXLIP_INLINE { columns[j] = _mm512_loadu_ps(panel + 16 * j); });
      unroll<T>([&](int t) LEXLIP_INLINE {
        const __m512 token = _mm512_set1_ps(tokens[t][i]);
        unroll<2>([&](int j) LEXLIP_INLINE {
          sums[2 * t + j] = _mm512_fmadd_ps(token, columns[j], sums[2 * t + j]);
        });
      });
    }
    unroll<T * 2>([&](int s) LEXLIP_INLINE { _mm512_storeu_ps(out + 16 * s, sums[s]); });
  }

  // N single logits, channels of each side by side in 32 lanes.
  template <int N>
  static void lane_logits(const float* const* tokens, const float* const* columns, std::int64_t hidden,
                          float* logits) {
    __m512 sums[N * 2];
    unroll<N * 2>([&](int s) LEXLIP_INLINE { sums[s] = _mm512_setzero_ps(); });
    std::int64_t i = 0;
    for (; i + 32 <= hidden; i += 32)
      unroll<N * 2>([&](int s) LEXLIP_INLINE {
        const std::int64_t at = i + s % 2 * 16;
        sums[s] = _mm512_fmadd_ps(_mm512_loadu_ps(tokens[s / 2] + at), _mm512_loadu_ps(columns[s / 2] + at),
                                  sums[s]);
      });
    for (; i < hidden; i += 16) {
      const auto kept = static_cast<__mmask16>(hidden - i < 16 ? (1U << (hidden - i)) - 1 : 0xffffU);
      unroll<N>([&](int n) LEXLIP_INLINE {
        sums[2 * n] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(kept, tokens[n] + i),
                                      _mm512_maskz_loadu_ps(kept, columns[n] + i), sums[2 * n]);
      });
    }
    unroll<N>([&](int n) LEXLIP_INLINE {
      logits[n] = _mm512_reduce_add_ps(_mm512_add_ps(sums[2 * n], sums[2 * n + 1]));
    });
  }

  // Which of 32 values reach their limits, bit by bit.
  static std::uint32_t reached(const float* values, const float* limits) {
    std::uint32_t bits = 0;
    unroll<2>([&](int j) LEXLIP_INLINE {
      const __mmask16 half =
          _mm512_cmp_ps_mask(_mm512_loadu_ps(values + 16 * j), _mm512_loadu_ps(limits + 16 * j), _CMP_GE_OQ);
      bits |= static_cast<std::uint32_t>(half) << (16 * j);
    });
    return bits;
  }
};

}  // namespace
}  // namespace lexlip
