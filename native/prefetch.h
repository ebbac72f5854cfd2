// Memory that the next job reads, prefetched by the threads that wait for that job.

#ifndef NEXTWORD_PREFETCH_H
#define NEXTWORD_PREFETCH_H

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace nextword {

struct MemoryRange {
    const uint8_t* begin;
    size_t num_bytes;
};

class Prefetcher {
public:
    // A thread's progress in prefetching its share of an announcement.
    struct Progress {
        uint32_t announcement = 0;
        size_t at = 0, end = 0;
    };

    explicit Prefetcher(int num_threads) : num_threads_(static_cast<size_t>(num_threads)) {}

    // The ranges, at most three, that the next job reads in the order of its units. By one thread at a time; nothing
    // happens if the memory is gone by the time that it is prefetched.
    void announce(std::initializer_list<MemoryRange> ranges);

    // Prefetch some lines of the beginning of the thread's share, or pause for a moment. Thread-safe.
    void prefetch(int thread, Progress& progress) const;

private:
    struct AtomicRange {
        std::atomic<const uint8_t*> begin{nullptr};
        std::atomic<size_t> num_bytes{0};
    };
    static constexpr int kMaxRanges = 3;

    const size_t num_threads_;
    alignas(64) std::atomic<uint32_t> announcement_{0};  // its number
    AtomicRange ranges_[kMaxRanges];
};

}  // namespace nextword

#endif
