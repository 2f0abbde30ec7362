// Inner loops for AVX-512 with VNNI (Ice Lake, Sapphire Rapids, Zen 4 and later): 64 int8 products an
// instruction.
#include "cpu_kernels.hpp"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include "panel_loops.hpp"
#include "tile_avx512.hpp"

namespace lexlip {
namespace {

constexpr CpuKernels kKernels{"avx512_vnni",
                              127,
                              quantise<Avx512Tile>,
                              upper_bounds<Avx512Tile>,
                              scanned_maxima<Avx512Tile>,
                              max_logits<Avx512Tile>,
                              single_logits<Avx512Tile>};

}  // namespace

const CpuKernels* avx512_vnni_kernels() {
  __builtin_cpu_init();
  const bool runs = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
  return runs ? &kKernels : nullptr;
}

}  // namespace lexlip
#else
const lexlip::CpuKernels* lexlip::avx512_vnni_kernels() { return nullptr; }
#endif
