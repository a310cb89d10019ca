#include "parallel.hpp"

#include <utility>

namespace aefast {
namespace {

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm64__)
  // Most cores ignore the hint YIELD; the barrier ISB takes about as long as PAUSE does on x86.
  asm volatile("yield\n\tisb");
#else
  std::this_thread::yield();
#endif
}

constexpr int kSpins = 2000, kYields = 4000;
constexpr std::uint64_t kTasks = (std::uint64_t{1} << 32) - 1;

/// Waits for `is_over` without sleeping: spins for some tens of microseconds, then yields for milliseconds. Returns
/// false if it is still not over; the caller may then sleep. Sleeping earlier would be slow: schedulers put threads
/// that wake each other within a step on the same processor.
template <class F>
bool wait_awake(F&& is_over) {
  for (int i = 0; i < kSpins + kYields; ++i) {
    if (is_over()) return true;
    if (i < kSpins) pause();
    else std::this_thread::yield();
  }
  return false;
}

}  // namespace

ThreadTeam::ThreadTeam(int n_threads)
    : n_threads_(n_threads),
      queues_(n_threads > 1 ? std::make_unique<Queue[]>(static_cast<std::size_t>(n_threads)) : nullptr) {
  for (int thread = 1; thread < n_threads; ++thread) workers_.emplace_back([this, thread] { work(thread); });
}

ThreadTeam::~ThreadTeam() {
  if (n_threads_ == 1) return;
  stop_.store(true, std::memory_order_relaxed);
  const std::uint64_t last = std::uint64_t{round_.load(std::memory_order_relaxed) + 1} << 32;
  for (int owner = 0; owner < size(); ++owner) queue(owner).open.store(last, std::memory_order_release);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadTeam::dispatch(Index n_tasks, Call call, const void* task) {
  const std::uint32_t round = round_.load(std::memory_order_relaxed) + 1;
  const std::uint32_t before = n_done_.load(std::memory_order_relaxed);
  for (int owner = size() - 1; owner >= 0; --owner) {
    Queue& its = queue(owner);
    its.call = call;
    its.task = task;
    its.n_tasks = static_cast<std::uint32_t>(n_tasks);
    const auto n = static_cast<std::uint64_t>(n_tasks_of(owner, n_tasks));
    its.open.store(std::uint64_t{round} << 32 | n, std::memory_order_release);
  }
  round_.store(round, std::memory_order_release);
  round_.notify_all();
  const std::uint32_t n_of_workers =
      static_cast<std::uint32_t>(n_tasks) - take_tasks_of(0, 0) - take_tasks_of_others(0);
  for (;;) {
    std::uint32_t n_done = 0;
    const auto is_over = [&] {
      n_done = n_done_.load(std::memory_order_acquire);
      return n_done - before == n_of_workers;
    };
    if (wait_awake(is_over)) break;
    n_done_.wait(n_done, std::memory_order_acquire);
  }
  if (failed_.exchange(false, std::memory_order_relaxed)) std::rethrow_exception(std::exchange(error_, nullptr));
}

void ThreadTeam::work(int thread) {
  const Queue& own = queue(thread);
  for (std::uint64_t seen = 0;;) {
    seen = wait_for_tasks(own, seen);
    if (stop_.load(std::memory_order_relaxed)) return;
    std::uint32_t n_done = take_tasks_of(thread, thread, &seen);
    const bool each_has_one = n_done > 0 && own.n_tasks <= static_cast<std::uint32_t>(size());
    if (!each_has_one)
      n_done += take_tasks_of_others(thread);  // other threads are not searched then, which would slow them down
    if (n_done == 0) continue;
    n_done_.fetch_add(n_done, std::memory_order_acq_rel);
    n_done_.notify_one();
  }
}

/// Waits until the queue differs from `seen`; returns its new state.
std::uint64_t ThreadTeam::wait_for_tasks(const Queue& queue, std::uint64_t seen) const {
  for (;;) {
    std::uint64_t open = seen;
    const auto is_over = [&] { return (open = queue.open.load(std::memory_order_acquire)) != seen; };
    if (wait_awake(is_over)) return open;
    const std::uint32_t round = round_.load(std::memory_order_acquire);
    if (!is_over()) round_.wait(round, std::memory_order_acquire);
  }
}

std::uint32_t ThreadTeam::take_tasks_of_others(int thread) {
  std::uint32_t n_done = 0;
  for (int i = 1; i < size(); ++i) n_done += take_tasks_of((thread + i) % size(), thread);
  return n_done;
}

/// Runs tasks until none is open; returns their number and, in `seen`, the last state of the queue.
std::uint32_t ThreadTeam::take_tasks_of(int owner, int thread, std::uint64_t* seen) {
  Queue& its = queue(owner);
  std::uint64_t open = its.open.load(std::memory_order_acquire);
  std::uint32_t n_done = 0;
  while ((open & kTasks) != 0) {
    if (!its.open.compare_exchange_weak(open, open - 1, std::memory_order_acquire)) continue;
    try {
      const Index i = owner + (n_tasks_of(owner, its.n_tasks) - static_cast<Index>(open & kTasks)) * size();
      if (!failed_.load(std::memory_order_relaxed)) its.call(its.task, i, thread);
    } catch (...) {
      const std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
      failed_.store(true, std::memory_order_relaxed);
    }
    ++n_done;
    open = its.open.load(std::memory_order_acquire);
  }
  if (seen) *seen = open;
  return n_done;
}

}  // namespace aefast
