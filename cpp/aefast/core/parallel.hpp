/// A team of threads, which lives as long as one call or one training. Nothing is global, so a forked child simply
/// makes its own team.
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

  /// Calls task(i, thread) for every i in [0, n_tasks), in any order, and returns when all are done. Rethrows the first
  /// exception; tasks that have not begun are then skipped. In every run of n_tasks tasks, task i is offered first to
  /// the same thread, whose cache has what the task wrote before.
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

  /// The tasks that one thread takes before others do: every size()-th. The thread waits on this cache line, which has
  /// all that it needs to begin.
  struct alignas(kAlignment) Queue {
    /// The number of the round in the upper half, the number of tasks not yet taken in the lower half. A round lasts
    /// until every task that was taken is done, so a worker that wakes up late, or not at all, delays nobody.
    std::atomic<std::uint64_t> open{0};
    Call call = nullptr;  // this and the members below are written only while no task is open
    const void* task = nullptr;
    std::uint32_t n_tasks = 0;  // of all queues
  };

  void dispatch(Index n_tasks, Call call, const void* task);
  void work(int thread);
  std::uint64_t wait_for_tasks(const Queue& queue, std::uint64_t seen) const;
  std::uint32_t take_tasks_of(int owner, int thread, std::uint64_t* seen = nullptr);
  std::uint32_t take_tasks_of_others(int thread);
  Queue& queue(int thread) const { return queues_[static_cast<std::size_t>(thread)]; }
  /// The number of a round's tasks that are offered first to `owner`.
  Index n_tasks_of(int owner, Index n_tasks) const { return (n_tasks - owner + size() - 1) / size(); }

  const int n_threads_;
  std::unique_ptr<Queue[]> queues_;  // one per thread; null if there is only one thread
  std::vector<std::thread> workers_;
  std::exception_ptr error_;
  std::mutex error_mutex_;
  std::atomic<bool> failed_{false}, stop_{false};
  alignas(kAlignment) std::atomic<std::uint32_t> round_{0};   // sleeping threads wait for it to change
  alignas(kAlignment) std::atomic<std::uint32_t> n_done_{0};  // tasks that workers have done in all rounds
};

}  // namespace aefast
