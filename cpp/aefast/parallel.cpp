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

constexpr std::uint64_t kRound = std::uint64_t{1} << 32;
constexpr std::uint64_t kTasks = kRound - 1;

}  // namespace

ThreadTeam::ThreadTeam(int n_threads) {
  for (int thread = 1; thread < n_threads; ++thread) workers_.emplace_back([this, thread] { work(thread); });
}

ThreadTeam::~ThreadTeam() {
  stop_.store(true, std::memory_order_relaxed);
  open_.fetch_add(kRound, std::memory_order_release);
  open_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadTeam::dispatch(Index n_tasks, std::function<void(Index, int)> task) {
  task_ = std::move(task);
  n_tasks_ = static_cast<std::uint32_t>(n_tasks);
  n_done_.store(0, std::memory_order_relaxed);
  const std::uint64_t round = (open_.load(std::memory_order_relaxed) & ~kTasks) + kRound;
  open_.store(round | n_tasks_, std::memory_order_release);
  open_.notify_all();
  take_tasks(0);
  for (std::uint32_t n = n_done_.load(std::memory_order_acquire); n < n_tasks_;
       n = n_done_.load(std::memory_order_acquire)) {
    wait_while(n_done_, n);
  }
  if (failed_.exchange(false, std::memory_order_relaxed)) std::rethrow_exception(std::exchange(error_, nullptr));
}

void ThreadTeam::work(int thread) {
  for (;;) {
    take_tasks(thread);
    const std::uint64_t seen = open_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_relaxed)) return;
    if ((seen & kTasks) == 0) wait_while(open_, seen);
  }
}

void ThreadTeam::take_tasks(int thread) {
  std::uint64_t open = open_.load(std::memory_order_acquire);
  while ((open & kTasks) != 0) {
    if (!open_.compare_exchange_weak(open, open - 1, std::memory_order_acquire)) continue;
    const std::uint32_t n_tasks = n_tasks_;
    try {
      if (!failed_.load(std::memory_order_relaxed)) task_(static_cast<Index>(n_tasks - (open & kTasks)), thread);
    } catch (...) {
      const std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
      failed_.store(true, std::memory_order_relaxed);
    }
    if (n_done_.fetch_add(1, std::memory_order_acq_rel) + 1 == n_tasks) n_done_.notify_one();
    open = open_.load(std::memory_order_acquire);
  }
}

}  // namespace aefast
