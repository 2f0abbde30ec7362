#include "token_rows.hpp"

#include <algorithm>

#include "decoder_panels.hpp"

namespace lexlip {

TokenRow::TokenRow(const HiddenStates& hidden, std::int64_t row, const CpuKernels& kernels, bool scanned,
                   bool copied)
    : depth_(packed_depth(hidden.channels)), offset_(kernels.levels + 1) {
  for (std::int64_t token = row * hidden.tokens; token < (row + 1) * hidden.tokens; ++token)
    if (hidden.mask[static_cast<std::size_t>(token)] != 0)
      tokens_.push_back(hidden.values.data() + token * hidden.channels);

  if (copied) {
    constexpr std::int64_t kFloatsPerLine = 16;
    const std::int64_t step = (hidden.channels + kFloatsPerLine - 1) / kFloatsPerLine * kFloatsPerLine;
    copies_.resize(tokens_.size() * static_cast<std::size_t>(step));
    float* copy = copies_.data();
    for (const float*& token : tokens_) {
      std::copy_n(token, hidden.channels, copy);
      token = copy;
      copy += step;
    }
  }

  // Without a scan the values are scratch: one token's room, overwritten by each.
  const std::size_t step = scanned ? static_cast<std::size_t>(depth_) : 0;
  values_.resize(std::max(step * tokens_.size(), static_cast<std::size_t>(depth_)));
  constexpr float kUp = 1 + 0x1p-20F;
  constexpr float kRoundings = 0x1p-20F;  // of the bound's own arithmetic, relative to the quantised token
  for (std::size_t t = 0; t < tokens_.size(); ++t) {
    const Quantised token = kernels.quantise(tokens_[t], hidden.channels, std::max(kernels.levels, 1),
                                             offset_, values_.data() + t * step);
    finite_ &= token.finite;
    scale_.push_back(token.scale);
    norm_.push_back(token.norm * kUp);
    residual_.push_back((token.residual + kRoundings * (token.norm + token.residual)) * kUp);
  }
}

bool TokenRow::fits(float largest_norm) const {
  // |logit| <= |token| |column|, and so is every partial sum of it.
  constexpr double kLimit = 0x1p126;
  const float largest = norm_.empty() ? 0 : *std::max_element(norm_.begin(), norm_.end());
  return finite_ && static_cast<double>(largest) * largest_norm < kLimit;
}

QuantisedTokens TokenRow::quantised() const {
  return {values_.data(),      scale_.data(), norm_.data(), residual_.data(),
          std::ssize(tokens_), depth_,        offset_};
}

}  // namespace lexlip
