#include "threads.h"

#include <algorithm>

#include "first_exception.h"

namespace nextword {

namespace {

// About 50 microseconds: longer than any gap between two jobs of a step, shorter than a scheduler's time slice.
constexpr int kSpins = 2000;

}  // namespace

ThreadPool::ThreadPool(int num_threads)
    : num_threads_(num_threads), shares_(num_threads), num_active_(num_threads), prefetcher_(num_threads) {
    start();
}

void ThreadPool::start() {
    try {
        for (int i = 1; i < num_threads_; ++i) workers_->threads.emplace_back([this, i] { run_worker(i); });
    } catch (...) {
        stop();
        throw;
    }
}

void ThreadPool::stop() {
    {
        const std::lock_guard<std::mutex> lock(workers_->mutex);
        stopping_ = true;
    }
    workers_->has_work.notify_all();
    workers_->is_stopping.notify_all();
    for (std::thread& thread : workers_->threads) thread.join();
    workers_->threads.clear();
}

void ThreadPool::restart_if_forked() {
    if (!workers_.is_inherited()) return;
    workers_.renew();
    num_asleep_ = 0;
    num_active_ = num_threads_;
    start();
}

ThreadPool::~ThreadPool() {
    if (!workers_.is_inherited()) stop();
}

// ---- the caller ----

void ThreadPool::run_shared(int num_units, WorkShares::Call call, const void* work) {
    const int num_active = num_active_;
    if (num_active == 1) return call(work, 0, num_units);
    // More units than a ticket can number are split into several jobs; models of that size do not exist yet.
    for (int done = 0; done < num_units; done += WorkShares::kMaxUnits) {
        FirstException thrown;
        const auto shifted = [&](int first, int last) { thrown.keep([&] { call(work, done + first, done + last); }); };
        const int count = std::min(num_units - done, WorkShares::kMaxUnits);
        run_job(count, num_active, &ThreadPool::call<decltype(shifted)>, &shifted);
        thrown.rethrow();
    }
}

void ThreadPool::run_job(int num_units, int num_active, WorkShares::Call call, const void* work) {
    const uint32_t job = job_ + 1;
    shares_.assign(job, num_units, num_active, call, work);
    job_.exchange(job);
    const Clock::time_point begin = Clock::now();
    if (num_asleep_ > 0) {
        const std::lock_guard<std::mutex> lock(workers_->mutex);
        workers_->has_work.notify_all();
    }
    while (claim_and_do(0)) {
    }
    for (int spin = 0; spin < kSpins && !shares_.is_done(); ++spin) prefetcher_.prefetch(0, caller_progress_);
    if (!shares_.is_done()) wait_for_claimed(begin, num_active);
}

// Sleep until the pieces that others have claimed are done. If that takes far longer than the caller's own part since
// `begin`, one of them was preempted in the middle of a piece; which one does not matter: one fewer takes part.
void ThreadPool::wait_for_claimed(Clock::time_point begin, int num_active) {
    const Clock::time_point finished = Clock::now();
    std::unique_lock<std::mutex> lock(workers_->mutex);
    // Exchanged, not stored: an emulated processor may let the load that follows overtake a store, and a thread that
    // ends the job in between would wake no thread.
    caller_asleep_.exchange(true);
    workers_->is_done.wait(lock, [&] { return shares_.is_done(); });
    caller_asleep_ = false;
    const Clock::time_point now = Clock::now();
    if (now - finished > finished - begin + kStall) {
        num_active_ = std::max(1, num_active - 1);
        workers_->has_work.notify_all();
    }
}

bool ThreadPool::claim_and_do(int thread) {
    const int num_units = shares_.claim_and_do(thread);
    if (num_units == 0) return false;
    if (shares_.finish(num_units) && caller_asleep_) {
        const std::lock_guard<std::mutex> lock(workers_->mutex);
        workers_->is_done.notify_one();
    }
    return true;
}

// ---- the others ----

void ThreadPool::run_worker(int thread) {
    Prefetcher::Progress progress;
    Backoff backoff;
    while (!stopping_) {
        if (thread < num_active_) {
            const uint32_t seen = job_;
            if (!claim_and_do(thread)) wait_for_work(seen, thread, progress);
            continue;
        }
        pause(backoff.pause());
        // The first of those that pause comes back first.
        int next = thread;
        const Clock::duration trial = backoff.trial();
        if (trial > Clock::duration{0} && keeps_its_core(trial, stopping_) &&
            num_active_.compare_exchange_strong(next, thread + 1)) {
            backoff.reset();
        } else {
            backoff.grow();
        }
    }
}

void ThreadPool::wait_for_work(uint32_t seen, int thread, Prefetcher::Progress& progress) {
    for (int spin = 0; spin < kSpins; ++spin) {
        if (job_ != seen || stopping_) return;
        prefetcher_.prefetch(thread, progress);
    }
    std::unique_lock<std::mutex> lock(workers_->mutex);
    ++num_asleep_;
    workers_->has_work.wait(lock, [&] { return job_ != seen || stopping_ || thread >= num_active_; });
    --num_asleep_;
}

void ThreadPool::pause(Clock::duration duration) {
    std::unique_lock<std::mutex> lock(workers_->mutex);
    workers_->is_stopping.wait_for(lock, duration, [&] { return stopping_.load(); });
}

}  // namespace nextword
