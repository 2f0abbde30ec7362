// Exits 0 if parallel_for runs every task once, on any number of threads, and hands exceptions to its caller.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "parallel.hpp"

namespace {

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

void every_task_once(std::int64_t tasks, std::int64_t threads) {
  std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));
  lexlip::parallel_for(tasks, threads, [&](std::int64_t i) { ++runs[static_cast<std::size_t>(i)]; });
  for (const auto& count : runs) require(count == 1, "each task runs once");
}

void exception_reaches_caller(std::int64_t threads) {
  bool caught = false;
  try {
    lexlip::parallel_for(1000, threads, [](std::int64_t i) {
      if (i % 3 == 1) throw std::runtime_error("task failed");
    });
  } catch (const std::runtime_error&) {
    caught = true;
  }
  require(caught, "an exception reaches the caller");
}

}  // namespace

int main() {
  for (const std::int64_t threads : {1, 2, 8}) {
    for (const std::int64_t tasks : {0, 1, 7, 1000}) every_task_once(tasks, threads);
    for (int repeat = 0; repeat < 50; ++repeat) exception_reaches_caller(threads);
  }
}
