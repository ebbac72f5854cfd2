#include "threads.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace nextword {

namespace {

constexpr int kUnitBits = 16;
constexpr uint64_t kUnitMask = (uint64_t{1} << kUnitBits) - 1;

// Who comes to nothing for so long has lost its core to another program.
constexpr auto kLostCore = std::chrono::milliseconds(1);
// A thread that has pauses for so long, and for twice as long each time that it then loses its core once more within
// kTrial, in which nobody waits for it.
constexpr auto kShortestPause = std::chrono::milliseconds(5), kLongestPause = std::chrono::milliseconds(80);
constexpr auto kTrial = std::chrono::milliseconds(25);

// About 50 microseconds: longer than any gap between two jobs of a step, shorter than a scheduler's time slice.
constexpr int kSpins = 2000;

uint64_t ticket_for(uint64_t job, int begin, int end) {
    return (job << (2 * kUnitBits)) | (static_cast<uint64_t>(end) << kUnitBits) | static_cast<uint64_t>(begin);
}

uint64_t begin_of(uint64_t ticket) { return ticket & kUnitMask; }
uint64_t end_of(uint64_t ticket) { return (ticket >> kUnitBits) & kUnitMask; }

// Of a share, so much as its thread's second cache holds beside other things.
constexpr size_t kMostFetched = size_t{1} << 18;
// Asked for between two looks at whether there is work: 4 lines.
constexpr size_t kFetchedAtOnce = 256;

void rest() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int num_threads)
    : num_threads_(num_threads), shares_(static_cast<size_t>(num_threads)), num_active_(num_threads) {
    start();
}

void ThreadPool::start() {
    process_ = getpid();
    crew_ = std::make_unique<Crew>();
    try {
        for (int i = 1; i < num_threads_; ++i) crew_->workers.emplace_back([this, i] { worker(i); });
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
    crew_->end.notify_all();
    for (std::thread& worker : crew_->workers) worker.join();
}

void ThreadPool::restart_if_forked() {
    if (getpid() == process_) return;
    static_cast<void>(crew_.release());
    num_asleep_ = 0;
    num_active_ = num_threads_;
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
    const int num_active = num_active_;
    if (num_active == 1) return call(work, 0, num_units);
    for (int done = 0; done < num_units; done += static_cast<int>(kUnitMask)) {
        // More units than a ticket can number come as several jobs; models of that size do not exist yet.
        const auto shifted = [&](int first, int last) { call(work, done + first, done + last); };
        const int count = std::min(num_units - done, static_cast<int>(kUnitMask));
        call_ = &ThreadPool::call<decltype(shifted)>;
        work_ = &shifted;
        num_left_ = count;
        const uint64_t job = job_ + 1;
        for (int i = 0; i < num_threads_; ++i) {
            const int64_t begin = int64_t{count} * std::min(i, num_active) / num_active;
            const int64_t end = int64_t{count} * std::min(i + 1, num_active) / num_active;
            shares_[i].ticket = ticket_for(job, static_cast<int>(begin), static_cast<int>(end));
        }
        job_.exchange(static_cast<uint32_t>(job));
        const Clock::time_point begin = Clock::now();
        if (num_asleep_ > 0) {
            const std::lock_guard<std::mutex> lock(crew_->mutex);
            crew_->work_there.notify_all();
        }
        while (claim_and_do(0)) {
        }
        for (int spin = 0; spin < kSpins && num_left_ > 0; ++spin) fetch(0, fetched_by_caller_);
        if (num_left_ > 0) {
            const Clock::time_point finished = Clock::now();
            std::unique_lock<std::mutex> lock(crew_->mutex);
            // Exchanged, not stored: an emulated processor may let a store be passed by the load that follows, and a
            // thread that ends the job in between would wake nobody.
            caller_asleep_.exchange(true);
            crew_->work_done.wait(lock, [&] { return num_left_ == 0; });
            caller_asleep_ = false;
            const Clock::time_point now = Clock::now();
            // One that was in the middle of a piece; which one it was does not matter.
            if (now - finished > finished - begin + kLostCore) {
                num_active_ = std::max(1, num_active - 1);
                crew_->work_there.notify_all();
            }
        }
    }
}

// Claim half of what is left of the thread's own share or, once that is done, of another's.
bool ThreadPool::claim_and_do(int thread) {
    for (int i = 0; i < num_threads_; ++i) {
        std::atomic<uint64_t>& share = shares_[(thread + i) % num_threads_].ticket;
        uint64_t ticket = share.load();
        while (begin_of(ticket) < end_of(ticket)) {
            const uint64_t taken = (end_of(ticket) - begin_of(ticket) + 1) / 2;
            const bool is_own = i == 0;
            const uint64_t first = is_own ? begin_of(ticket) : end_of(ticket) - taken;
            const Call call = call_;
            const void* work = work_;
            if (!share.compare_exchange_weak(ticket, is_own ? ticket + taken : ticket - (taken << kUnitBits))) continue;
            // The job cannot end before this piece is done, so what was read before the claim belongs to it.
            call(work, static_cast<int>(first), static_cast<int>(first + taken));
            if ((num_left_ -= static_cast<int>(taken)) == 0 && caller_asleep_) {
                const std::lock_guard<std::mutex> lock(crew_->mutex);
                crew_->work_done.notify_one();
            }
            return true;
        }
    }
    return false;
}

void ThreadPool::expect(std::initializer_list<Stretch> memory) {
    // What is read while this changes is asked for in vain, which does no harm.
    int index = 0;
    for (const Stretch& stretch : memory) {
        expected_[index].begin.store(stretch.begin, std::memory_order_relaxed);
        expected_[index++].num_bytes.store(stretch.num_bytes, std::memory_order_relaxed);
    }
    for (; index < kMaxStretches; ++index) expected_[index].num_bytes.store(0, std::memory_order_relaxed);
    expectation_.store(expectation_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

// Ask for some lines of what is expected, or just let some time pass.
void ThreadPool::fetch(int thread, Fetched& fetched) const {
    const uint32_t expectation = expectation_.load(std::memory_order_acquire);
    if (fetched.expectation != expectation) {
        size_t num_bytes = 0;
        for (const ExpectedStretch& stretch : expected_) num_bytes += stretch.num_bytes.load(std::memory_order_relaxed);
        const size_t share = num_bytes / static_cast<size_t>(num_threads_), begin = share * static_cast<size_t>(thread);
        fetched = {expectation, begin, begin + std::min(share, kMostFetched)};
    }
    size_t at = fetched.at;
    for (const ExpectedStretch& stretch : expected_) {
        const size_t num_bytes = stretch.num_bytes.load(std::memory_order_relaxed);
        if (fetched.at < fetched.end && at < num_bytes) {
            const uint8_t* const memory = stretch.begin.load(std::memory_order_relaxed) + at;
            for (size_t line = 0; line < kFetchedAtOnce; line += 64) __builtin_prefetch(memory + line, 0, 2);
            fetched.at += kFetchedAtOnce;
            return;
        }
        at -= std::min(at, num_bytes);
    }
    rest();
}

void ThreadPool::wait_for_work(uint32_t seen, int thread, Fetched& fetched) {
    for (int spin = 0; spin < kSpins; ++spin) {
        if (job_ != seen || stopping_) return;
        fetch(thread, fetched);
    }
    std::unique_lock<std::mutex> lock(crew_->mutex);
    ++num_asleep_;
    crew_->work_there.wait(lock, [&] { return job_ != seen || stopping_ || thread >= num_active_; });
    --num_asleep_;
}

bool ThreadPool::keeps_its_core() const {
    Clock::time_point last = Clock::now();
    for (const Clock::time_point end = last + kTrial; last < end && !stopping_;) {
        rest();
        const Clock::time_point now = Clock::now();
        if (now - last > kLostCore) return false;
        last = now;
    }
    return true;
}

void ThreadPool::worker(int thread) {
    Fetched fetched;
    Clock::duration pause = kShortestPause;
    while (!stopping_) {
        if (thread < num_active_) {
            const uint32_t seen = job_;
            if (!claim_and_do(thread)) wait_for_work(seen, thread, fetched);
            continue;
        }
        {
            std::unique_lock<std::mutex> lock(crew_->mutex);
            crew_->end.wait_for(lock, pause, [&] { return stopping_.load(); });
        }
        // The first of those that pause comes back first.
        int next = thread;
        const bool is_back = keeps_its_core() && num_active_.compare_exchange_strong(next, thread + 1);
        pause = is_back ? kShortestPause : std::min<Clock::duration>(2 * pause, kLongestPause);
    }
}

}  // namespace nextword
