// Inner loops for AVX-512 with VNNI (Ice Lake, Sapphire Rapids, Zen 4 and later): 64 int8 products an instruction.
#include "cpu_kernels.hpp"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>

#include "panel_loops.hpp"

namespace lexlip {
namespace {

struct Tile {
  template <int T>
  static void dots(const std::uint8_t* tokens, std::int64_t depth, const std::int8_t* panel, std::int32_t* out) {
    __m512i sums[T][4];
    for (auto& row : sums)
      for (__m512i& sum : row) sum = _mm512_setzero_si512();
    for (std::int64_t i = 0; i < depth; i += 4, panel += 4 * kPanelColumns) {
      __m512i columns[4];
      for (int j = 0; j < 4; ++j) columns[j] = _mm512_loadu_si512(panel + 64 * j);
      for (int t = 0; t < T; ++t) {
        std::int32_t four;
        __builtin_memcpy(&four, tokens + t * depth + i, 4);
        const __m512i token = _mm512_set1_epi32(four);
        // An instruction, not the intrinsic: gcc 12 moves the intrinsic's sums to the stack and back.
        for (int j = 0; j < 4; ++j) asm("vpdpbusd %2, %1, %0" : "+v"(sums[t][j]) : "v"(token), "v"(columns[j]));
      }
    }
    for (int t = 0; t < T; ++t)
      for (int j = 0; j < 4; ++j) _mm512_storeu_si512(out + t * kPanelColumns + 16 * j, sums[t][j]);
  }

  template <int T>
  static void logits(const float* const* tokens, std::int64_t hidden, const float* panel, float* out) {
    __m512 sums[T][4];
    for (auto& row : sums)
      for (__m512& sum : row) sum = _mm512_setzero_ps();
    for (std::int64_t i = 0; i < hidden; ++i, panel += kPanelColumns) {
      __m512 columns[4];
      for (int j = 0; j < 4; ++j) columns[j] = _mm512_loadu_ps(panel + 16 * j);
      for (int t = 0; t < T; ++t) {
        const __m512 token = _mm512_set1_ps(tokens[t][i]);
        for (int j = 0; j < 4; ++j) sums[t][j] = _mm512_fmadd_ps(token, columns[j], sums[t][j]);
      }
    }
    for (int t = 0; t < T; ++t)
      for (int j = 0; j < 4; ++j) _mm512_storeu_ps(out + t * kPanelColumns + 16 * j, sums[t][j]);
  }
};

constexpr CpuKernels kKernels{"avx512_vnni", 127, quantise<Tile>, upper_bounds<Tile>, max_logits<Tile>};

}  // namespace

const CpuKernels* avx512_vnni_kernels() {
  __builtin_cpu_init();
  const bool runs = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vnni") &&
                    __builtin_cpu_supports("fma");
  return runs ? &kKernels : nullptr;
}

}  // namespace lexlip
#else
const lexlip::CpuKernels* lexlip::avx512_vnni_kernels() { return nullptr; }
#endif
