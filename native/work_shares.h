// Numbered units of work, divided into one contiguous share for each thread, claimed in pieces without a lock.
//
// A thread claims from the front of its own share, so that it reads memory in one go, and then steals from the far end
// of another's.

#ifndef NEXTWORD_WORK_SHARES_H
#define NEXTWORD_WORK_SHARES_H

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nextword {

class WorkShares {
public:
    using Call = void (*)(const void* work, int first, int last);

    // Units that a job may have.
    static constexpr int kMaxUnits = (1 << 16) - 1;

    explicit WorkShares(int num_threads) : shares_(static_cast<size_t>(num_threads)) {}

    // Begin a job of this number: units 0 to num_units among the first `num_active` threads. The one before is done.
    void assign(uint32_t job, int num_units, int num_active, Call call, const void* work);

    // Do a piece of the thread's own share or, once that is done, of another's. Returns the units of the piece, 0 if
    // nothing is left to claim; the caller then reports them by `finish`.
    int claim_and_do(int thread);

    // Count these units as done; true if they were the last of the job.
    bool finish(int num_units) { return (num_left_ -= num_units) == 0; }
    bool is_done() const { return num_left_ == 0; }

private:
    // A thread's unclaimed units: the job (32 bits), their end (16) and their begin (16), changed as one number,
    // so that a claim can succeed only for the job that is running.
    struct alignas(64) Share {
        std::atomic<uint64_t> ticket{0};
    };
    int claim_from(Share& share, bool is_own);

    std::vector<Share> shares_;  // the caller's first
    std::atomic<Call> call_{nullptr};
    std::atomic<const void*> work_{nullptr};
    alignas(64) std::atomic<int> num_left_{0};
};

}  // namespace nextword

#endif
