#include "threads.h"

#include <unistd.h>

#include <algorithm>

namespace nextword {

namespace {

constexpr int kUnitBits = 16;
constexpr uint64_t kUnitMask = (uint64_t{1} << kUnitBits) - 1;
// About 50 microseconds: longer than any gap between two jobs of a step, shorter than a scheduler's time slice.
constexpr int kSpins = 2000;

uint64_t next_unit(uint64_t ticket) { return ticket & kUnitMask; }
uint64_t num_units_of(uint64_t ticket) { return (ticket >> kUnitBits) & kUnitMask; }
uint64_t job_of(uint64_t ticket) { return ticket >> (2 * kUnitBits); }

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) : num_threads_(num_threads) { start(); }

void ThreadPool::start() {
    process_ = getpid();
    crew_ = std::make_unique<Crew>();
    try {
        for (int i = 1; i < num_threads_; ++i) crew_->workers.emplace_back([this] { worker(); });
    } catch (...) {
        stop();
        throw;
    }
}

void ThreadPool::stop() {
    {
        const std::lock_guard<std::mutex> lock(crew_->mutex);
        stopping_ = true;
    }
    crew_->work_there.notify_all();
    for (std::thread& worker : crew_->workers) worker.join();
}

void ThreadPool::restart_if_forked() {
    if (getpid() == process_) return;
    static_cast<void>(crew_.release());
    num_asleep_ = 0;
    start();
}

ThreadPool::~ThreadPool() {
    if (getpid() == process_) {
        stop();
    } else {
        static_cast<void>(crew_.release());
    }
}

void ThreadPool::run_shared(int num_units, Call call, const void* work) {
    for (int done = 0; done < num_units; done += static_cast<int>(kUnitMask)) {
        // More units than a ticket can number come as several jobs; models of that size do not exist yet.
        const auto shifted = [&](int first, int last) { call(work, done + first, done + last); };
        const int count = std::min(num_units - done, static_cast<int>(kUnitMask));
        call_ = &ThreadPool::call<decltype(shifted)>;
        work_ = &shifted;
        num_done_ = 0;
        const uint64_t job = job_of(ticket_.load()) + 1;
        ticket_ = (job << (2 * kUnitBits)) | (static_cast<uint64_t>(count) << kUnitBits);
        if (num_asleep_ > 0) {
            const std::lock_guard<std::mutex> lock(crew_->mutex);
            crew_->work_there.notify_all();
        }
        while (claim_and_do()) {
        }
        for (int spin = 0; spin < kSpins && num_done_ < count; ++spin) pause();
        if (num_done_ < count) {
            std::unique_lock<std::mutex> lock(crew_->mutex);
            caller_asleep_ = true;
            crew_->work_done.wait(lock, [&] { return num_done_ >= count; });
            caller_asleep_ = false;
        }
    }
}

// Claim a share of what is left: large pieces first, single units at the end, so that all finish together.
bool ThreadPool::claim_and_do() {
    uint64_t ticket = ticket_.load();
    for (;;) {
        const uint64_t first = next_unit(ticket), count = num_units_of(ticket);
        if (first >= count) return false;
        const uint64_t share = std::max<uint64_t>(1, (count - first) / (2 * static_cast<uint64_t>(num_threads_)));
        const Call call = call_;
        const void* work = work_;
        if (!ticket_.compare_exchange_weak(ticket, ticket + share)) continue;
        // The job cannot end before this piece is done, so what was read before the claim belongs to it.
        call(work, static_cast<int>(first), static_cast<int>(first + share));
        if (num_done_ += static_cast<int>(share); num_done_ >= static_cast<int>(count) && caller_asleep_) {
            const std::lock_guard<std::mutex> lock(crew_->mutex);
            crew_->work_done.notify_one();
        }
        return true;
    }
}

void ThreadPool::wait_for_work(uint64_t seen) {
    for (int spin = 0; spin < kSpins; ++spin) {
        if (ticket_.load() != seen || stopping_) return;
        pause();
    }
    std::unique_lock<std::mutex> lock(crew_->mutex);
    ++num_asleep_;
    crew_->work_there.wait(lock, [&] { return ticket_.load() != seen || stopping_; });
    --num_asleep_;
}

void ThreadPool::worker() {
    while (!stopping_) {
        if (!claim_and_do()) wait_for_work(ticket_.load());
    }
}

}  // namespace nextword
