// The maximum over tokens and the way back through it, for training on a CPU. The product with the decoder is
// the caller's: it has a library for that. Only the token of each maximum is kept, so the gradients are sums
// over (row, term) and not over (row, token, term).
#pragma once

#include <cstdint>
#include <span>

namespace lexlip {

// B rows of L tokens, V terms, H channels.
struct PoolShape {
  std::int64_t rows;
  std::int64_t tokens;
  std::int64_t terms;
  std::int64_t hidden;
};

// maxima (B, V) over the tokens of each row, and which token it was, the first among equals; -infinity and -1
// where a row has none. A NaN is the maximum. The logits (T, V) are those of the tokens that take part, row
// after row: those of row b from offsets[b] up to offsets[b + 1], at the places (T,) in their rows. Logits
// are float, or the bits of bfloat16.
template <typename Logit>
void token_maxima(std::span<const Logit> logits, std::span<const std::int64_t> offsets,
                  std::span<const std::int16_t> places, std::int64_t terms, std::int64_t threads,
                  std::span<float> maxima, std::span<std::int16_t> tokens);

// d hidden (B, L, H): to each token, slope (B, V) times weight (V, H) of the terms that have their maximum
// there.
void hidden_gradient(std::span<const float> slope, std::span<const std::int16_t> tokens,
                     std::span<const float> weight, const PoolShape& shape, std::int64_t threads,
                     std::span<float> gradient);

// d weight (V, H): to each term, slope (B, V) times hidden (B, L, H) of the token that has its maximum.
void weight_gradient(std::span<const float> slope, std::span<const std::int16_t> tokens,
                     std::span<const float> hidden, const PoolShape& shape, std::int64_t threads,
                     std::span<float> gradient);

}  // namespace lexlip
