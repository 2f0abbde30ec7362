// Runs independent tasks on several threads.
//
// Exists because an exception that leaves a std::thread ends the process: here the first one is carried back
// to the caller. It keeps no pool: tasks last milliseconds, starting a thread costs microseconds. If the
// system refuses another thread, the work is done by those that did start.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace lexlip {

// Calls task(i) once for each i in [0, tasks) on at most `threads` threads, the calling one included. Tasks
// that have not begun when one throws are skipped, and the first exception is rethrown after all threads have
// ended.
template <typename Task>
void parallel_for(std::int64_t tasks, std::int64_t threads, const Task& task) {
  std::atomic<std::int64_t> next{0};
  std::exception_ptr failure;
  std::mutex failure_guard;

  const auto work = [&]() noexcept {
    for (std::int64_t i = next++; i < tasks; i = next++) {
      try {
        task(i);
      } catch (...) {
        const std::lock_guard lock(failure_guard);
        if (!failure) failure = std::current_exception();
        next = tasks;
      }
    }
  };

  const std::int64_t helpers = std::min(tasks, threads) - 1;
  std::vector<std::thread> started;
  if (helpers > 0) started.reserve(static_cast<std::size_t>(helpers));
  try {
    for (std::int64_t i = 0; i < helpers; ++i) started.emplace_back(work);
  } catch (const std::exception&) {
    // Fewer threads than asked for change the speed, never the result.
  }
  work();
  for (std::thread& thread : started) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace lexlip
