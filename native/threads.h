// A persistent pool of threads that share out numbered units of work.
//
// Only claimed work is waited for: a preempted thread delays no other unless it holds a piece. After that, one thread
// fewer takes part until that thread has kept a core for a while. Waiting spins for a bounded time and then sleeps.

#ifndef NEXTWORD_THREADS_H
#define NEXTWORD_THREADS_H

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <initializer_list>
#include <mutex>
#include <thread>
#include <vector>

#include "fork.h"
#include "preemption.h"
#include "prefetch.h"
#include "work_shares.h"

namespace nextword {

class ThreadPool {
public:
    // `num_threads` counts the caller's. Throws std::system_error if the system refuses them.
    explicit ThreadPool(int num_threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int num_threads() const { return num_threads_; }

    // In a process forked from the one that made the pool: start threads of its own.
    void restart_if_forked();

    // Call work(first, last) until all units from 0 to num_units have been done once. One caller at a time. Few units
    // (up to `alone`) are done by the caller, because waking others would take longer. If work throws, some units are
    // left undone, and the first exception is thrown again once no thread works any more.
    template <class Work>
    void run(int num_units, const Work& work, int alone = 1) {
        if (num_units <= alone || num_threads_ <= 1) {
            if (num_units > 0) work(0, num_units);
            return;
        }
        run_shared(num_units, &call<Work>, &work);
    }

    // Let threads that wait for the next job prefetch what it reads: see Prefetcher::announce.
    void prefetch_next(std::initializer_list<MemoryRange> ranges) { prefetcher_.announce(ranges); }

private:
    template <class Work>
    static void call(const void* work, int first, int last) {
        (*static_cast<const Work*>(work))(first, last);
    }

    // The worker threads, and the condition variables on which they and the caller sleep.
    struct Workers {
        std::mutex mutex;
        std::condition_variable has_work, is_done, is_stopping;
        std::vector<std::thread> threads;
    };

    void start();
    void stop();
    void run_shared(int num_units, WorkShares::Call call, const void* work);
    void run_job(int num_units, int num_active, WorkShares::Call call, const void* work);
    void wait_for_claimed(Clock::time_point begin, int num_active);
    bool claim_and_do(int thread);
    void wait_for_work(uint32_t seen, int thread, Prefetcher::Progress& progress);
    void pause(Clock::duration duration);
    void run_worker(int thread);

    const int num_threads_;
    ProcessOwned<Workers> workers_;
    WorkShares shares_;
    alignas(64) std::atomic<uint32_t> job_{0};
    alignas(64) std::atomic<int> num_asleep_{0};
    std::atomic<bool> caller_asleep_{false};
    std::atomic<bool> stopping_{false};
    std::atomic<int> num_active_;  // threads that take part, the first ones
    Prefetcher prefetcher_;
    Prefetcher::Progress caller_progress_;
};

}  // namespace nextword

#endif
