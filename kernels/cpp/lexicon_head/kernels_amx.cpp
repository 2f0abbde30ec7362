// Inner loops for Intel's AMX (Sapphire Rapids and later): 16,384 int8 products an instruction. float32 sums,
// and fewer than 16 tokens, are left to AVX-512.
#include "cpu_kernels.hpp"

#if defined(__AMX_INT8__) && defined(__AVX512VNNI__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "panel_loops.hpp"
#include "tile_avx512.hpp"

namespace lexlip {
namespace {

// Every tile register holds 16 rows of 64 bytes. 0 to 3: sums of 32 tokens x 32 columns; 4, 5: tokens; 6, 7:
// columns, whose layout in a panel is the one that the instruction wants.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

struct AmxTile : Avx512Tile {
  static constexpr int kDotTokens = 32;

  template <int T>
  static void dots(const std::uint8_t* tokens, std::int64_t depth, const std::int8_t* panel,
                   std::int32_t* out) {
    if constexpr (T == 32) {
      dots_of_32(tokens, depth, panel, out);
    } else if constexpr (T == 16) {
      dots_of_16(tokens, depth, panel, out);
    } else {
      Avx512Tile::dots<T>(tokens, depth, panel, out);
    }
  }

 private:
  static constexpr std::int64_t kStep = 64;                     // channels a tile instruction takes
  static constexpr std::int64_t kPanelRow = 4 * kPanelColumns;  // bytes of one group of channels
  static constexpr std::int64_t kOutRow = 4 * kPanelColumns;

  static void dots_of_32(const std::uint8_t* tokens, std::int64_t depth, const std::int8_t* panel,
                         std::int32_t* out) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (std::int64_t i = 0; i < depth; i += kStep) {
      const std::int8_t* columns = panel + i * kPanelColumns;
      _tile_loadd(6, columns, kPanelRow);
      _tile_loadd(7, columns + 64, kPanelRow);
      _tile_loadd(4, tokens + i, depth);
      _tile_loadd(5, tokens + 16 * depth + i, depth);
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
      _tile_dpbusd(2, 5, 6);
      _tile_dpbusd(3, 5, 7);
    }
    _tile_stored(0, out, kOutRow);
    _tile_stored(1, out + 16, kOutRow);
    _tile_stored(2, out + 16 * kPanelColumns, kOutRow);
    _tile_stored(3, out + 16 * kPanelColumns + 16, kOutRow);
  }

  static void dots_of_16(const std::uint8_t* tokens, std::int64_t depth, const std::int8_t* panel,
                         std::int32_t* out) {
    _tile_zero(0);
    _tile_zero(1);
    for (std::int64_t i = 0; i < depth; i += kStep) {
      const std::int8_t* columns = panel + i * kPanelColumns;
      _tile_loadd(6, columns, kPanelRow);
      _tile_loadd(7, columns + 64, kPanelRow);
      _tile_loadd(4, tokens + i, depth);
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
    }
    _tile_stored(0, out, kOutRow);
    _tile_stored(1, out + 16, kOutRow);
  }
};

// Tile registers belong to a thread; they are given back at once, because a thread that holds them is slower
// to switch.
void upper_bounds_with_tiles(const QuantisedTokens& row, const QuantisedPanel& panel,
                             const PanelBounds& bounds) {
  static constexpr TileConfig kConfig;
  _tile_loadconfig(&kConfig);
  upper_bounds<AmxTile>(row, panel, bounds);
  _tile_release();
}

void scanned_maxima_with_tiles(const QuantisedTokens& row, const float* const* tokens,
                               const QuantisedPanel& panel, const PanelWeights& weights,
                               const PanelScratch& scratch, const PanelBounds& bounds, float* maxima) {
  static constexpr TileConfig kConfig;
  _tile_loadconfig(&kConfig);
  scanned_maxima<AmxTile>(row, tokens, panel, weights, scratch, bounds, maxima);
  _tile_release();
}

constexpr CpuKernels kKernels{"amx",
                              127,
                              quantise<AmxTile>,
                              upper_bounds_with_tiles,
                              scanned_maxima_with_tiles,
                              max_logits<AmxTile>,
                              single_logits<AmxTile>};

bool cpu_has_amx_int8() {
  constexpr unsigned kTile = 1U << 24;
  constexpr unsigned kInt8 = 1U << 25;
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kTile) != 0 && (d & kInt8) != 0;
}

// Linux lends tile registers only to programs that ask for them.
bool system_lends_tiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

const CpuKernels* amx_kernels() {
  return avx512_vnni_kernels() != nullptr && cpu_has_amx_int8() && system_lends_tiles() ? &kKernels : nullptr;
}

}  // namespace lexlip
#else
const lexlip::CpuKernels* lexlip::amx_kernels() { return nullptr; }
#endif
