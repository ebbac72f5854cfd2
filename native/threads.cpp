#include "threads.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace nextword {

namespace {

constexpr int kUnitBits = 16;
constexpr uint64_t kUnitMask = (uint64_t{1} << kUnitBits) - 1;
using Clock = std::chrono::steady_clock;

// Of a caller that has done its part of a job: waiting this much longer than it worked means that the system has taken
// a thread off its core in the middle of a piece.
constexpr auto kStall = std::chrono::microseconds(200);
// For so long after a stall, all threads but the caller's rest after short turns: a core that they share with another
// program is then taken from them while they rest, and hold no piece.
constexpr auto kCautious = std::chrono::milliseconds(50);
constexpr auto kTurn = std::chrono::microseconds(2000);
constexpr auto kRest = std::chrono::microseconds(1000);

int64_t ticks(Clock::time_point time) { return time.time_since_epoch().count(); }

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
        const Clock::time_point begin = Clock::now();
        if (num_asleep_ > 0) {
            const std::lock_guard<std::mutex> lock(crew_->mutex);
            crew_->work_there.notify_all();
        }
        while (claim_and_do()) {
        }
        for (int spin = 0; spin < kSpins && num_done_ < count; ++spin) pause();
        if (num_done_ < count) {
            const Clock::time_point finished = Clock::now();
            std::unique_lock<std::mutex> lock(crew_->mutex);
            // Exchanged, not stored: an emulated processor may let a store be passed by the load that follows, and a
            // thread that ends the job in between would wake nobody.
            caller_asleep_.exchange(true);
            crew_->work_done.wait(lock, [&] { return num_done_ >= count; });
            caller_asleep_ = false;
            const Clock::time_point now = Clock::now();
            if (now - finished > finished - begin + kStall) cautious_until_ = ticks(now + kCautious);
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

// True if it slept.
bool ThreadPool::wait_for_work(uint64_t seen) {
    for (int spin = 0; spin < kSpins; ++spin) {
        if (ticket_.load() != seen || stopping_) return false;
        pause();
    }
    std::unique_lock<std::mutex> lock(crew_->mutex);
    ++num_asleep_;
    crew_->work_there.wait(lock, [&] { return ticket_.load() != seen || stopping_; });
    --num_asleep_;
    return true;
}

void ThreadPool::worker() {
    Clock::time_point turn_began = Clock::now();
    while (!stopping_) {
        if (!claim_and_do() && wait_for_work(ticket_.load())) turn_began = Clock::now();
        if (cautious_until_ == 0) continue;
        const Clock::time_point now = Clock::now();
        if (ticks(now) > cautious_until_) {
            cautious_until_ = 0;
        } else if (now - turn_began > kTurn) {
            std::this_thread::sleep_for(kRest);
            turn_began = Clock::now();
        }
    }
}

}  // namespace nextword
