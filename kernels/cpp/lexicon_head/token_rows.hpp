// The tokens of one row that take part, as the kernels want them: addresses for the float32 sums, int8 for
// the scan.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <vector>

#include "cpu_kernels.hpp"

namespace lexlip {

// A vector that begins on a cache line. A wide load that straddles two lines takes twice as long; an AMX
// tile, which is sixteen of them, four times.
template <typename T>
struct CacheLineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kAlignment{64};

  CacheLineAllocator() = default;
  template <typename Other>
  explicit CacheLineAllocator(const CacheLineAllocator<Other>&) {}

  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kAlignment)); }
  void deallocate(T* p, std::size_t) { ::operator delete(p, kAlignment); }
  bool operator==(const CacheLineAllocator&) const = default;
};

template <typename T>
using AlignedVector = std::vector<T, CacheLineAllocator<T>>;

// hidden (rows, tokens, channels) and mask (rows, tokens), 0 where a token is padding. Padding is never read.
struct HiddenStates {
  std::span<const float> values;
  std::span<const std::uint8_t> mask;
  std::int64_t rows;
  std::int64_t tokens;
  std::int64_t channels;
};

class TokenRow {
 public:
  // Gathers row `row`; quantised to the path's levels if `scanned`, otherwise only its norms are taken. The
  // float32 values are copied to cache lines of their own if `copied`, for those who multiply one by one.
  TokenRow(const HiddenStates& hidden, std::int64_t row, const CpuKernels& kernels, bool scanned,
           bool copied = false);
  TokenRow(const TokenRow&) = delete;  // `tokens` may point to what it holds
  TokenRow(TokenRow&&) = default;

  // False if a token holds a NaN or an infinity, or a logit with a column of this norm might overflow
  // float32.
  bool fits(float largest_norm) const;

  std::span<const float* const> tokens() const { return tokens_; }
  QuantisedTokens quantised() const;

 private:
  std::vector<const float*> tokens_;
  AlignedVector<float> copies_;
  AlignedVector<std::uint8_t> values_;
  std::vector<float> scale_;
  std::vector<float> norm_;
  std::vector<float> residual_;
  std::int64_t depth_;
  std::int32_t offset_;
  bool finite_ = true;
};

}  // namespace lexlip
