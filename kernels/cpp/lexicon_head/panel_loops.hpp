// What every CPU path shares: loops over tiles of tokens, the error bound, quantisation. Included once by
// each path's translation unit; everything is parametrised by that unit's `Tile`, or static, so that no two
// paths share code.
//
// `Tile::dots<T>` gives the int8 sums, `Tile::logits<T>` the float32 sums of T tokens and 32 columns; T is at
// most `Tile::kTokens`. README.md of lexicon_head derives the bound.
#pragma once

#include "cpu_kernels.hpp"
#include "unroll.hpp"

namespace lexlip {
namespace {

constexpr float kMinusInfinity = -__builtin_inff();

// Relative slack for the roundings of the bound's own arithmetic: 16 units of float32 roundoff, where at most
// 8 occur.
constexpr double kSlack = 0x1p-20;

// Absolute slack: more than underflow can take away, far less than any logit that matters.
constexpr float kUnderflow = 0x1p-100F;

inline float larger(float a, float b) { return a > b ? a : b; }

// Covers `rest` tokens at the end by the smallest tile that does: the maximum does not mind meeting a token
// twice.
template <int T, typename Run>
inline void last_tile(std::int64_t tokens, std::int64_t rest, const Run& run) {
  if constexpr (T > 1) {
    if (rest <= T / 2) return last_tile<T / 2>(tokens, rest, run);
  }
  run.template operator()<T>(tokens - T);
}

// Calls run<T>(first) for tiles of T tokens that cover all tokens; smaller tiles where there are fewer than
// T.
template <int T, typename Run>
inline void for_each_tile(std::int64_t tokens, const Run& run) {
  if constexpr (T > 1) {
    if (tokens < T) return for_each_tile<T / 2>(tokens, run);
  }
  std::int64_t first = 0;
  for (; first + T <= tokens; first += T) run.template operator()<T>(first);
  if (first < tokens) last_tile<T>(tokens, tokens - first, run);
}

// The two largest bounds of each column so far, and the token of the largest, in memory that nothing else
// points to.
struct RunningBounds {
  alignas(64) float first[kPanelColumns];
  alignas(64) float second[kPanelColumns];
  alignas(64) std::int32_t token[kPanelColumns];
  alignas(64) std::int32_t shifts[kPanelColumns];  // what the tokens' offset adds to a sum

  RunningBounds(const QuantisedTokens& row, const QuantisedPanel& panel) {
    for (std::int64_t c = 0; c < kPanelColumns; ++c) {
      first[c] = second[c] = kMinusInfinity;
      token[c] = 0;
      shifts[c] = row.offset * panel.sums[c];
    }
  }

  // Takes in the int8 sums of one token; its bounds are written to `kept` (32,) if that is asked for.
  template <bool Keep>
  void raise(const QuantisedTokens& row, std::int64_t t, const QuantisedPanel& panel,
             const std::int32_t* __restrict dots, float* __restrict kept) {
    const float scale = row.scale[t];
    const float norm = row.norm[t];
    const float residual = row.residual[t];
    const auto number = static_cast<std::int32_t>(t);
#pragma GCC ivdep
    for (std::int64_t c = 0; c < kPanelColumns; ++c) {
      const auto dot = static_cast<float>(dots[c] - shifts[c]);
      const float error = norm * panel.residual[c] + residual * panel.norm[c] + kUnderflow;
      const float bound = scale * panel.scale[c] * dot + error;
      if constexpr (Keep) kept[c] = bound;
      const float before = first[c];
      const bool higher = bound > before;
      const float loser = higher ? before : bound;
      second[c] = larger(loser, second[c]);
      first[c] = higher ? bound : before;
      token[c] = higher ? number : token[c];
    }
  }

  void write(const PanelBounds& out) const {
    for (std::int64_t c = 0; c < kPanelColumns; ++c) {
      out.first[c] = first[c];
      out.second[c] = second[c];
      out.token[c] = token[c];
    }
  }
};

// Asks for the panel that follows in memory, a share for each token: scans walk panels in order, each comes
// from far away, and all of it at once would be more than the CPU can have under way.
class NextPanel {
 public:
  NextPanel(const QuantisedTokens& row, const QuantisedPanel& panel)
      : line_(panel.values + row.depth * kPanelColumns),
        end_(line_ + row.depth * kPanelColumns),
        share_(row.depth * kPanelColumns / (row.tokens + 1) + kCacheLine) {}

  void prefetch_share() {
    const std::int8_t* last = end_ - line_ < share_ ? end_ : line_ + share_;
    for (; line_ < last; line_ += kCacheLine) __builtin_prefetch(line_, 0, 2);
  }

 private:
  static constexpr std::int64_t kCacheLine = 64;
  const std::int8_t* line_;
  const std::int8_t* end_;
  std::int64_t share_;
};

// Keep: the bounds of all tokens go to `kept` (tokens, 32).
template <typename Tile, bool Keep>
inline void scan(const QuantisedTokens& row, const QuantisedPanel& panel, RunningBounds& running,
                 float* kept) {
  NextPanel next(row, panel);
  for_each_tile<Tile::kDotTokens>(row.tokens, [&]<int T>(std::int64_t first) {
    alignas(64) std::int32_t dots[T * kPanelColumns];
    Tile::template dots<T>(row.values + first * row.depth, row.depth, panel.values, dots);
    for (int t = 0; t < T; ++t) {
      next.prefetch_share();
      float* const of_token = Keep ? kept + (first + t) * kPanelColumns : nullptr;
      running.template raise<Keep>(row, first + t, panel, dots + t * kPanelColumns, of_token);
    }
  });
}

template <typename Tile>
void upper_bounds(const QuantisedTokens& row, const QuantisedPanel& panel, const PanelBounds& bounds) {
  RunningBounds running(row, panel);
  scan<Tile, false>(row, panel, running, nullptr);
  running.write(bounds);
}

// The largest float32 logit of each column, by way of bounds: only tokens whose bound leaves them a chance
// are multiplied. Which those are is listed first, because a CPU that guesses it wrong waits for memory each
// time.
template <typename Tile>
class LargestLogits {
 public:
  // Starts from the token of the largest bound.
  LargestLogits(const QuantisedTokens& row, const float* const* tokens, const QuantisedPanel& panel,
                const PanelWeights& weights, const RunningBounds& running)
      : tokens_(tokens), weights_(weights) {
    float longest = 0;
    for (std::int64_t t = 0; t < row.tokens; ++t) longest = larger(row.norm[t], longest);
    const float roundoff = 2.1F * static_cast<float>(weights.hidden + 8) * 0x1p-24F * longest;
    std::int32_t pairs[kPanelColumns];
    for (std::int64_t c = 0; c < kPanelColumns; ++c) {
      slack_[c] = roundoff * panel.norm[c] + kUnderflow;
      token_[c] = running.token[c];
      pairs[c] = pair(token_[c], c);
      largest_[c] = second_[c] = kMinusInfinity;
    }
    multiply(pairs, weights.columns);
  }

  // Looks at all tokens that their bounds (tokens, 32) leave a chance; takes `pairs` (tokens, 32) as scratch.
  void find(const QuantisedTokens& row, const float* bounds, std::int32_t* pairs) {
    alignas(64) float limits[kPanelColumns];
    for (std::int64_t c = 0; c < kPanelColumns; ++c)
      limits[c] = c < weights_.columns ? largest_[c] - 2 * slack_[c] : -kMinusInfinity;
    std::int64_t count = 0;
    for (std::int64_t t = 0; t < row.tokens; ++t) {
      std::uint32_t open = Tile::reached(bounds + t * kPanelColumns, limits);
      for (; open != 0; open &= open - 1) {
        const int c = __builtin_ctz(open);
        pairs[count] = pair(static_cast<std::int32_t>(t), c);
        count += token_[c] != t;
      }
    }
    multiply(pairs, count);
  }

  void write(const PanelBounds& out, float* maxima) const {
    for (std::int64_t c = 0; c < kPanelColumns; ++c) {
      maxima[c] = largest_[c];
      out.first[c] = largest_[c] + slack_[c];
      out.second[c] = second_[c] < largest_[c] - 2 * slack_[c] ? kMinusInfinity : out.first[c];
      out.token[c] = token_[c];
    }
  }

 private:
  static std::int32_t pair(std::int32_t token, std::int64_t column) {
    return token * static_cast<std::int32_t>(kPanelColumns) + static_cast<std::int32_t>(column);
  }

  void multiply(const std::int32_t* pairs, std::int64_t count) {
    std::int64_t i = 0;
    for (; i + 4 <= count; i += 4) multiply_group<4>(pairs + i);
    for (; i < count; ++i) multiply_group<1>(pairs + i);
  }

  template <int N>
  void multiply_group(const std::int32_t* pairs) {
    const float* tokens[N];
    const float* columns[N];
    float found[N];
    for (int n = 0; n < N; ++n) {
      tokens[n] = tokens_[pairs[n] / kPanelColumns];
      columns[n] = weights_.values + pairs[n] % kPanelColumns * weights_.hidden;
    }
    Tile::template lane_logits<N>(tokens, columns, weights_.hidden, found);
    for (int n = 0; n < N; ++n) compare(pairs[n] % kPanelColumns, pairs[n] / kPanelColumns, found[n]);
  }

  void compare(std::int64_t c, std::int64_t token, float found) {
    const bool higher = found > largest_[c];
    second_[c] = larger(second_[c], higher ? largest_[c] : found);
    token_[c] = higher ? static_cast<std::int32_t>(token) : token_[c];
    largest_[c] = higher ? found : largest_[c];
  }

  const float* const* tokens_;
  const PanelWeights& weights_;
  float largest_[kPanelColumns];
  float second_[kPanelColumns];
  float slack_[kPanelColumns];  // how far the sums of one logit in two orders lie apart, at most
  std::int32_t token_[kPanelColumns];
};

template <typename Tile>
void scanned_maxima(const QuantisedTokens& row, const float* const* tokens, const QuantisedPanel& panel,
                    const PanelWeights& weights, const PanelScratch& scratch, const PanelBounds& bounds,
                    float* maxima) {
  RunningBounds running(row, panel);
  scan<Tile, true>(row, panel, running, scratch.bounds);
  if (row.tokens == 0) {
    for (std::int64_t c = 0; c < kPanelColumns; ++c) maxima[c] = kMinusInfinity;
    return running.write(bounds);
  }
  LargestLogits<Tile> largest(row, tokens, panel, weights, running);
  largest.find(row, scratch.bounds, scratch.pairs);
  largest.write(bounds, maxima);
}

template <typename Tile>
void max_logits(const float* const* tokens, std::int64_t count, std::int64_t hidden, const float* panel,
                float* __restrict maxima) {
  for (std::int64_t c = 0; c < kPanelColumns; ++c) maxima[c] = kMinusInfinity;
  for_each_tile<Tile::kLogitTokens>(count, [&]<int T>(std::int64_t first) {
    alignas(64) float logits[T * kPanelColumns];
    Tile::template logits<T>(tokens + first, hidden, panel, logits);
    for (int t = 0; t < T; ++t) {
      for (std::int64_t c = 0; c < kPanelColumns; ++c)
        maxima[c] = larger(logits[t * kPanelColumns + c], maxima[c]);
    }
  });
}

// N sums side by side: one alone would wait for each of its additions.
template <int N>
inline void few_logits(const float* const* tokens, const float* const* columns, std::int64_t hidden,
                       float* logits) {
  float sums[N];
  unroll<N>([&](int n) LEXLIP_INLINE { sums[n] = 0; });
  for (std::int64_t i = 0; i < hidden; ++i)
    unroll<N>([&](int n) LEXLIP_INLINE { sums[n] = __builtin_fmaf(tokens[n][i], columns[n][i], sums[n]); });
  unroll<N>([&](int n) LEXLIP_INLINE { logits[n] = sums[n]; });
}

// For paths that have fused multiply-add; the Tile only names the translation unit.
template <typename Tile>
void single_logits(const float* const* tokens, const float* const* columns, std::int64_t count,
                   std::int64_t hidden, float* logits) {
  constexpr std::int64_t kGroup = 8;
  std::int64_t n = 0;
  for (; n + kGroup <= count; n += kGroup) few_logits<kGroup>(tokens + n, columns + n, hidden, logits + n);
  for (; n < count; ++n) few_logits<1>(tokens + n, columns + n, hidden, logits + n);
}

// Rounds up to float32; never to 0, whose product with something large would claim no error at all.
inline float round_up(double x) { return static_cast<float>(x * (1 + kSlack)) + 0x1p-126F; }

// The largest |x| as bits of a float32: they order like the values, and NaN and infinity come last.
inline std::uint32_t largest_magnitude(const float* x, std::int64_t n) {
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t magnitude = __builtin_bit_cast(std::uint32_t, x[i]) & 0x7fffffffU;
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest;
}

// The Tile only names the translation unit.
template <typename Tile>
Quantised quantise(const float* __restrict x, std::int64_t n, std::int32_t levels, std::int32_t offset,
                   std::uint8_t* __restrict out) {
  constexpr std::uint32_t kInfinity = 0x7f800000U;
  // Adding this leaves the nearest integer in the last bits of a float32 (|x| < 2^22, round to nearest).
  constexpr float kRounder = 0x1.8p23F;
  const std::uint32_t largest = largest_magnitude(x, n);
  const float magnitude = __builtin_bit_cast(float, largest);
  // Below 2^-100 the inverse might overflow: all values become 0 and the residual is everything.
  const float scale = magnitude < 0x1p-100F ? 0.0F : magnitude / static_cast<float>(levels);
  const float inverse = scale == 0.0F ? 0.0F : 1.0F / scale;
  double norm = 0;
  double residual = 0;
#pragma omp simd reduction(+ : norm, residual)
  for (std::int64_t i = 0; i < n; ++i) {
    const float rounded = x[i] * inverse + kRounder;
    const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, rounded);
    const auto q = static_cast<std::int32_t>(bits - __builtin_bit_cast(std::uint32_t, kRounder));
    const double rest = static_cast<double>(x[i]) - static_cast<double>(scale) * q;
    out[i] = static_cast<std::uint8_t>(static_cast<std::uint32_t>(q) + static_cast<std::uint32_t>(offset));
    norm += static_cast<double>(x[i]) * x[i];
    residual += rest * rest;
  }
  return {scale, round_up(__builtin_sqrt(norm)), round_up(__builtin_sqrt(residual)), largest < kInfinity};
}

}  // namespace
}  // namespace lexlip
