// Keeps the k best of a stream of scored rows.
//
// A buffer of 2k cut back by nth_element, not a heap: each hit costs O(1) amortised whatever k is. Rows must
// be offered in ascending order; then a later row never displaces an equal score, and ties need no work at
// all.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace lexlip {

struct Hit {
  std::int32_t score;
  std::int32_t row;
};

// The order of results: score descending, then row ascending.
inline bool better(const Hit& a, const Hit& b) {
  return a.score != b.score ? a.score > b.score : a.row < b.row;
}

// Drops all but the best k, in no particular order.
inline void select_best(std::vector<Hit>& hits, std::size_t k) {
  if (hits.size() <= k) return;
  std::nth_element(hits.begin(), hits.begin() + static_cast<std::ptrdiff_t>(k), hits.end(), better);
  hits.resize(k);
}

// Drops all but the best k and sorts them, best first.
inline void keep_best(std::vector<Hit>& hits, std::size_t k) {
  select_best(hits, k);
  std::sort(hits.begin(), hits.end(), better);
}

class TopK {
 public:
  explicit TopK(std::size_t k) : k_(k) {}

  // Only a score above this can still change the result; 0 at first, so that rows without a match stay out.
  std::int32_t threshold() const { return threshold_; }

  void offer(const Hit& hit) {
    hits_.push_back(hit);
    if (hits_.size() < 2 * k_) return;
    select_best(hits_, k_);
    // By the order of results the largest hit is the last one, hence the worst that is kept.
    threshold_ = std::max_element(hits_.begin(), hits_.end(), better)->score;
  }

  // The best k, best first.
  std::vector<Hit> finish() && {
    keep_best(hits_, k_);
    return std::move(hits_);
  }

 private:
  std::size_t k_;
  std::int32_t threshold_ = 0;
  std::vector<Hit> hits_;
};

}  // namespace lexlip
