/// A team of threads for the length of one call or one training: made by who needs it, gone with it. Nothing is
/// global, so that a forked child simply makes its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "types.hpp"

namespace aefast {

class ThreadTeam {
 public:
  /// The calling thread is one of the `n_threads`.
  explicit ThreadTeam(int n_threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return n_threads_; }

  /// Calls task(i, thread) for every i in [0, n_tasks), in any order, and returns when all are done. The first
  /// exception is thrown again here; tasks not yet begun are then left out. What a task writes stays near who did it:
  /// the same thread is the first to be offered task i in every run of as many tasks.
  template <class Task>
  void run(Index n_tasks, Task&& task) {
    if (n_threads_ == 1 || n_tasks <= 1) {
      for (Index i = 0; i < n_tasks; ++i) task(i, 0);
      return;
    }
    dispatch(n_tasks, std::ref(task));
  }

 private:
  void dispatch(Index n_tasks, std::function<void(Index, int)> task);
  void work(int thread);
  void take_tasks(int thread);
  std::uint32_t take_tasks_of(int owner, int thread);
  /// How many of the round's tasks are first offered to `owner`.
  Index n_tasks_of(int owner) const { return (static_cast<Index>(n_tasks_) - owner + size() - 1) / size(); }

  /// Tasks that one thread takes before others do: every size()-th. The round in the upper half, how many are not yet
  /// taken in the lower. Who takes one from a round knows that the round goes on until it is done, so a worker that
  /// wakes late or not at all holds nobody up.
  struct alignas(kAlignment) Queue {
    std::atomic<std::uint64_t> open{0};
  };

  const int n_threads_;
  std::vector<std::thread> workers_;
  std::function<void(Index, int)> task_;  // and n_tasks_: written only while no task is open
  std::uint32_t n_tasks_ = 0;
  std::exception_ptr error_;
  std::mutex error_mutex_;
  std::atomic<bool> failed_{false};
  std::unique_ptr<Queue[]> queues_;  // one of each thread
  alignas(kAlignment) std::atomic<std::uint32_t> round_{0};
  alignas(kAlignment) std::atomic<std::uint32_t> n_done_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace aefast
