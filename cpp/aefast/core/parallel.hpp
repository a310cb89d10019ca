/// A team of threads for the length of one call or one training: made by who needs it, gone with it. Nothing is
/// global, so that a forked child simply makes its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
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
    dispatch(
        n_tasks,
        [](const void* each, Index i, int thread) {
          (*static_cast<const std::remove_reference_t<Task>*>(each))(i, thread);
        },
        &task);
  }

 private:
  using Call = void (*)(const void* task, Index i, int thread);

  /// Tasks that one thread takes before others do: every size()-th. All that it needs to begin is in one line of the
  /// cache, on which it waits.
  struct alignas(kAlignment) Queue {
    /// The round in the upper half, how many tasks are not yet taken in the lower. Who takes one from a round knows
    /// that the round goes on until it is done, so a worker that wakes late or not at all holds nobody up.
    std::atomic<std::uint64_t> open{0};
    Call call = nullptr;  // and these: written only while no task is open
    const void* task = nullptr;
    std::uint32_t n_tasks = 0;  // of the round
  };

  void dispatch(Index n_tasks, Call call, const void* task);
  void work(int thread);
  std::uint64_t wait_for_tasks(const Queue& queue, std::uint64_t seen) const;
  std::uint32_t take_tasks_of(int owner, int thread, std::uint64_t* seen = nullptr);
  std::uint32_t take_tasks_of_others(int thread);
  Queue& queue(int thread) const { return queues_[static_cast<std::size_t>(thread)]; }
  /// How many of a round's tasks are first offered to `owner`.
  Index n_tasks_of(int owner, Index n_tasks) const { return (n_tasks - owner + size() - 1) / size(); }

  const int n_threads_;
  std::unique_ptr<Queue[]> queues_;  // one of each thread
  std::vector<std::thread> workers_;
  std::exception_ptr error_;
  std::mutex error_mutex_;
  std::atomic<bool> failed_{false}, stop_{false};
  alignas(kAlignment) std::atomic<std::uint32_t> round_{0};   // what those wait for who sleep
  alignas(kAlignment) std::atomic<std::uint32_t> n_done_{0};  // tasks that workers have done, ever
};

}  // namespace aefast
