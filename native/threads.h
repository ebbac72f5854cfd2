// A persistent pool of threads that share out numbered units of work.
//
// Work is claimed in small pieces, and only claimed work is waited for: a thread that the system has taken off its
// core holds nobody up unless it sits on a piece. Where that has happened, threads work in short turns for a while, so
// that it seldom happens again. Waiting spins for a bounded time and then sleeps.

#ifndef NEXTWORD_THREADS_H
#define NEXTWORD_THREADS_H

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace nextword {

class ThreadPool {
public:
    // `num_threads` counts the caller's. Throws std::system_error if the system refuses them.
    explicit ThreadPool(int num_threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int num_threads() const { return num_threads_; }

    // In a process forked from the one that made the pool, which has our memory but not our threads: start others.
    void restart_if_forked();

    // Call work(first, last) until all units from 0 to num_units have been done once. One caller at a time. Work must
    // not throw. Few units (up to `alone`) are done by the caller, because waking others would take longer.
    template <class Work>
    void run(int num_units, const Work& work, int alone = 1) {
        if (num_units <= alone || num_threads_ <= 1) {
            if (num_units > 0) work(0, num_units);
            return;
        }
        run_shared(num_units, &call<Work>, &work);
    }

private:
    using Call = void (*)(const void* work, int first, int last);

    template <class Work>
    static void call(const void* work, int first, int last) {
        (*static_cast<const Work*>(work))(first, last);
    }

    // What a forked process can neither use nor destroy: threads that are not there, and what they wait on.
    struct Crew {
        std::mutex mutex;
        std::condition_variable work_there, work_done;
        std::vector<std::thread> workers;
    };

    void start();
    void stop();
    void run_shared(int num_units, Call call, const void* work);
    bool claim_and_do();
    bool wait_for_work(uint64_t seen);
    void worker();

    const int num_threads_;
    int process_ = 0;
    std::unique_ptr<Crew> crew_;
    // Which job (32 bits), how many units it has (16), and the next one to claim (16), changed as one number, so that
    // a claim can succeed only for the job that is running.
    alignas(64) std::atomic<uint64_t> ticket_{0};
    std::atomic<Call> call_{nullptr};
    std::atomic<const void*> work_{nullptr};
    alignas(64) std::atomic<int> num_done_{0};
    alignas(64) std::atomic<int> num_asleep_{0};
    std::atomic<bool> caller_asleep_{false};
    std::atomic<bool> stopping_{false};
    std::atomic<int64_t> cautious_until_{0};  // in ticks of the steady clock, 0: they are not cautious
};

}  // namespace nextword

#endif
