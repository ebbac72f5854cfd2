// A persistent pool of threads that share out numbered units of work.
//
// Each thread has a share of its own, which it claims in pieces from the front, so that it reads memory in one go;
// then it helps out at the far end of another's. Only claimed work is waited for: a thread that the system has taken
// off its core holds nobody up unless it sits on a piece. Where that has happened, one thread fewer takes part
// until it could keep a core for a while. Waiting spins for a bounded time and then sleeps.

#ifndef NEXTWORD_THREADS_H
#define NEXTWORD_THREADS_H

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace nextword {

struct Stretch {
    const uint8_t* begin;
    size_t num_bytes;
};

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

    // The memory that the next job will read in the order of its units, at most three stretches: a thread that waits
    // for that job asks for the beginning of its share. Nothing happens if the memory is gone by then.
    void expect(std::initializer_list<Stretch> memory);

private:
    using Clock = std::chrono::steady_clock;
    using Call = void (*)(const void* work, int first, int last);

    template <class Work>
    static void call(const void* work, int first, int last) {
        (*static_cast<const Work*>(work))(first, last);
    }

    // What a forked process can neither use nor destroy: threads that are not there, and what they wait on.
    struct Crew {
        std::mutex mutex;
        std::condition_variable work_there, work_done, end;
        std::vector<std::thread> workers;
    };

    // How far a thread has asked for its share of what is expected.
    struct Fetched {
        uint32_t expectation = 0;
        size_t at = 0, end = 0;
    };

    void start();
    void stop();
    void run_shared(int num_units, Call call, const void* work);
    bool claim_and_do(int thread);
    void wait_for_work(uint32_t seen, int thread, Fetched& fetched);
    void fetch(int thread, Fetched& fetched) const;
    bool keeps_its_core() const;
    void worker(int thread);

    const int num_threads_;
    int process_ = 0;
    std::unique_ptr<Crew> crew_;
    // What a thread has left of the units that fell to it.
    struct alignas(64) Share {
        // The job (32 bits), the end of its units (16) and their begin (16), changed as one number, so that a claim can
        // succeed only for the job that is running.
        std::atomic<uint64_t> ticket{0};
    };
    std::vector<Share> shares_;  // the caller's first
    alignas(64) std::atomic<uint32_t> job_{0};
    std::atomic<Call> call_{nullptr};
    std::atomic<const void*> work_{nullptr};
    alignas(64) std::atomic<int> num_left_{0};
    alignas(64) std::atomic<int> num_asleep_{0};
    std::atomic<bool> caller_asleep_{false};
    std::atomic<bool> stopping_{false};
    std::atomic<int> num_active_;  // threads that take part, the first ones

    struct ExpectedStretch {
        std::atomic<const uint8_t*> begin{nullptr};
        std::atomic<size_t> num_bytes{0};
    };
    static constexpr int kMaxStretches = 3;
    alignas(64) std::atomic<uint32_t> expectation_{0};  // its number
    ExpectedStretch expected_[kMaxStretches];
    Fetched fetched_by_caller_;
};

}  // namespace nextword

#endif
