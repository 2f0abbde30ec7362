// Loops that are gone before the compiler assigns registers.
//
// gcc unrolls ordinary loops too late: an array of sums indexed by a loop variable stays in memory, with a
// load and a store around every instruction.
#pragma once

#include <utility>  // integer_sequence: a type, so nothing that a linker could share between instruction sets

namespace lexlip {
namespace {

template <typename Body, int... I>
[[gnu::always_inline]] inline void unroll_each(const Body& body, std::integer_sequence<int, I...>) {
  (body(I), ...);
}

// body(0), ..., body(N - 1), each with a constant.
template <int N, typename Body>
[[gnu::always_inline]] inline void unroll(const Body& body) {
  unroll_each(body, std::make_integer_sequence<int, N>{});
}

}  // namespace
}  // namespace lexlip

// In front of the body of a lambda that unroll() calls.
#define LEXLIP_INLINE __attribute__((always_inline))
