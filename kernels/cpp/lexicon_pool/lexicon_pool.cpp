#include "lexicon_pool/lexicon_pool.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "parallel.hpp"

namespace lexlip {

namespace {

using std::int16_t;
using std::int32_t;
using std::int64_t;

// Terms looked at together: their maxima, or their rows of the weight, stay in the cache meanwhile.
constexpr int64_t kBlock = 512;

float value(float logit) { return logit; }
float value(std::uint16_t bfloat16) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bfloat16) << 16);
}

// Of the terms of one block and the tokens of one row; `stride` lies between the logits of two tokens.
template <typename Logit>
void block_maxima(const Logit* logits, int64_t stride, std::span<const int16_t> places, int64_t terms,
                  float* maxima, int16_t* tokens) {
  std::array<float, kBlock> best;
  std::array<int32_t, kBlock> token;
  best.fill(-std::numeric_limits<float>::infinity());
  token.fill(-1);
  for (const int16_t place : places) {
    const int32_t here = place;
    for (int64_t v = 0; v < terms; ++v) {
      const float logit = value(logits[v]);
      const bool higher = (logit > best[v]) | (logit != logit);
      best[v] = higher ? logit : best[v];
      token[v] = higher ? here : token[v];
    }
    logits += stride;
  }
  std::copy_n(best.data(), terms, maxima);
  for (int64_t v = 0; v < terms; ++v) tokens[v] = static_cast<int16_t>(token[v]);
}

// out += factor * row, H channels.
void add(float factor, const float* row, int64_t hidden, float* out) {
  for (int64_t i = 0; i < hidden; ++i) out[i] += factor * row[i];
}

int64_t blocks(int64_t terms) { return (terms + kBlock - 1) / kBlock; }

}  // namespace

template <typename Logit>
void token_maxima(std::span<const Logit> logits, std::span<const int64_t> offsets,
                  std::span<const int16_t> places, int64_t terms, int64_t threads, std::span<float> maxima,
                  std::span<int16_t> tokens) {
  parallel_for(std::ssize(offsets) - 1, threads, [&](int64_t row) {
    const int64_t start = offsets[static_cast<std::size_t>(row)];
    const int64_t end = offsets[static_cast<std::size_t>(row + 1)];
    const auto own = places.subspan(static_cast<std::size_t>(start), static_cast<std::size_t>(end - start));
    for (int64_t first = 0; first < terms; first += kBlock) {
      block_maxima(logits.data() + start * terms + first, terms, own, std::min(kBlock, terms - first),
                   maxima.data() + row * terms + first, tokens.data() + row * terms + first);
    }
  });
}

template void token_maxima(std::span<const float>, std::span<const int64_t>, std::span<const int16_t>,
                           int64_t, int64_t, std::span<float>, std::span<int16_t>);
template void token_maxima(std::span<const std::uint16_t>, std::span<const int64_t>, std::span<const int16_t>,
                           int64_t, int64_t, std::span<float>, std::span<int16_t>);

void hidden_gradient(std::span<const float> slope, std::span<const int16_t> tokens,
                     std::span<const float> weight, const PoolShape& shape, int64_t threads,
                     std::span<float> gradient) {
  // Rows are shared out in as many runs as there are threads, so that each run reads a block of the weight
  // once.
  const int64_t runs = std::min(threads, shape.rows);
  parallel_for(runs, threads, [&](int64_t run) {
    const int64_t first_row = shape.rows * run / runs, last_row = shape.rows * (run + 1) / runs;
    std::fill(gradient.begin() + first_row * shape.tokens * shape.hidden,
              gradient.begin() + last_row * shape.tokens * shape.hidden, 0.0F);
    for (int64_t first = 0; first < shape.terms; first += kBlock) {
      const int64_t last = std::min(first + kBlock, shape.terms);
      for (int64_t row = first_row; row < last_row; ++row) {
        float* const out = gradient.data() + row * shape.tokens * shape.hidden;
        for (int64_t v = first; v < last; ++v) {
          const float factor = slope[static_cast<std::size_t>(row * shape.terms + v)];
          const int16_t token = tokens[static_cast<std::size_t>(row * shape.terms + v)];
          if (factor != 0 && token >= 0 && token < shape.tokens)
            add(factor, weight.data() + v * shape.hidden, shape.hidden, out + token * shape.hidden);
        }
      }
    }
  });
}

void weight_gradient(std::span<const float> slope, std::span<const int16_t> tokens,
                     std::span<const float> hidden, const PoolShape& shape, int64_t threads,
                     std::span<float> gradient) {
  parallel_for(blocks(shape.terms), threads, [&](int64_t block) {
    const int64_t first = block * kBlock, last = std::min(first + kBlock, shape.terms);
    std::fill(gradient.begin() + first * shape.hidden, gradient.begin() + last * shape.hidden, 0.0F);
    for (int64_t row = 0; row < shape.rows; ++row) {
      const float* const states = hidden.data() + row * shape.tokens * shape.hidden;
      for (int64_t v = first; v < last; ++v) {
        const float factor = slope[static_cast<std::size_t>(row * shape.terms + v)];
        const int16_t token = tokens[static_cast<std::size_t>(row * shape.terms + v)];
        if (factor != 0 && token >= 0 && token < shape.tokens)
          add(factor, states + token * shape.hidden, shape.hidden, gradient.data() + v * shape.hidden);
      }
    }
  });
}

}  // namespace lexlip
