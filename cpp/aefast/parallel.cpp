#include "parallel.hpp"

#include <utility>

namespace aefast {
namespace {

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

/// Waits until `value` is no longer `old`: spinning for some tens of microseconds, then letting others run, and asleep
/// only after milliseconds. Threads that sleep and wake one another within a step end up on the same processor, where
/// no scheduler sees that there is work for two.
template <class V>
void wait_while(const std::atomic<V>& value, V old) {
  constexpr int kSpins = 2000, kYields = 4000;
  for (int i = 0; i < kSpins + kYields; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    if (i < kSpins) pause();
    else std::this_thread::yield();
  }
  value.wait(old, std::memory_order_acquire);
}

constexpr std::uint64_t kTasks = (std::uint64_t{1} << 32) - 1;

}  // namespace

ThreadTeam::ThreadTeam(int n_threads)
    : n_threads_(n_threads), queues_(std::make_unique<Queue[]>(static_cast<std::size_t>(n_threads))) {
  for (int thread = 1; thread < n_threads; ++thread) workers_.emplace_back([this, thread] { work(thread); });
}

ThreadTeam::~ThreadTeam() {
  stop_.store(true, std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadTeam::dispatch(Index n_tasks, std::function<void(Index, int)> task) {
  task_ = std::move(task);
  n_tasks_ = static_cast<std::uint32_t>(n_tasks);
  n_done_.store(0, std::memory_order_relaxed);
  const std::uint32_t round = round_.load(std::memory_order_relaxed) + 1;
  for (int owner = 0; owner < size(); ++owner) {
    const std::uint64_t open = std::uint64_t{round} << 32 | static_cast<std::uint64_t>(n_tasks_of(owner));
    queues_[static_cast<std::size_t>(owner)].open.store(open, std::memory_order_release);
  }
  round_.store(round, std::memory_order_release);
  round_.notify_all();
  take_tasks(0);
  for (std::uint32_t n = n_done_.load(std::memory_order_acquire); n < n_tasks_;
       n = n_done_.load(std::memory_order_acquire)) {
    wait_while(n_done_, n);
  }
  if (failed_.exchange(false, std::memory_order_relaxed)) std::rethrow_exception(std::exchange(error_, nullptr));
}

void ThreadTeam::work(int thread) {
  for (;;) {
    const std::uint32_t seen = round_.load(std::memory_order_acquire);
    take_tasks(thread);
    if (stop_.load(std::memory_order_relaxed)) return;
    wait_while(round_, seen);
  }
}

void ThreadTeam::take_tasks(int thread) {
  std::uint32_t n_done = 0;  // told together, since the round goes on until they are
  for (int i = 0; i < size(); ++i) n_done += take_tasks_of((thread + i) % size(), thread);
  if (n_done == 0) return;
  const std::uint32_t n_tasks = n_tasks_;
  if (n_done_.fetch_add(n_done, std::memory_order_acq_rel) + n_done == n_tasks) n_done_.notify_one();
}

std::uint32_t ThreadTeam::take_tasks_of(int owner, int thread) {
  std::atomic<std::uint64_t>& queue = queues_[static_cast<std::size_t>(owner)].open;
  std::uint64_t open = queue.load(std::memory_order_acquire);
  std::uint32_t n_done = 0;
  while ((open & kTasks) != 0) {
    if (!queue.compare_exchange_weak(open, open - 1, std::memory_order_acquire)) continue;
    try {
      const Index task = owner + (n_tasks_of(owner) - static_cast<Index>(open & kTasks)) * size();
      if (!failed_.load(std::memory_order_relaxed)) task_(task, thread);
    } catch (...) {
      const std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
      failed_.store(true, std::memory_order_relaxed);
    }
    ++n_done;
    open = queue.load(std::memory_order_acquire);
  }
  return n_done;
}

}  // namespace aefast
