#include "prefetch.h"

#include <algorithm>

#include "preemption.h"

namespace nextword {

namespace {

// Prefetch at most the part of a share that fits its thread's L2 cache beside other data.
constexpr size_t kMaxPrefetched = size_t{1} << 18;
// Bytes prefetched between two checks for work: 4 cache lines.
constexpr size_t kPrefetchedAtOnce = 256;

}  // namespace

void Prefetcher::announce(std::initializer_list<MemoryRange> ranges) {
    // A thread that reads a range while it changes prefetches the wrong memory, which is harmless.
    int index = 0;
    for (const MemoryRange& range : ranges) {
        ranges_[index].begin.store(range.begin, std::memory_order_relaxed);
        ranges_[index++].num_bytes.store(range.num_bytes, std::memory_order_relaxed);
    }
    for (; index < kMaxRanges; ++index) ranges_[index].num_bytes.store(0, std::memory_order_relaxed);
    announcement_.store(announcement_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

void Prefetcher::prefetch(int thread, Progress& progress) const {
    const uint32_t announcement = announcement_.load(std::memory_order_acquire);
    if (progress.announcement != announcement) {
        size_t num_bytes = 0;
        for (const AtomicRange& range : ranges_) num_bytes += range.num_bytes.load(std::memory_order_relaxed);
        const size_t share = num_bytes / num_threads_, begin = share * static_cast<size_t>(thread);
        progress = {announcement, begin, begin + std::min(share, kMaxPrefetched)};
    }
    size_t at = progress.at;
    for (const AtomicRange& range : ranges_) {
        const size_t num_bytes = range.num_bytes.load(std::memory_order_relaxed);
        if (progress.at < progress.end && at < num_bytes) {
            const uint8_t* const memory = range.begin.load(std::memory_order_relaxed) + at;
            for (size_t line = 0; line < kPrefetchedAtOnce; line += 64) __builtin_prefetch(memory + line, 0, 2);
            progress.at += kPrefetchedAtOnce;
            return;
        }
        at -= std::min(at, num_bytes);
    }
    relax_core();
}

}  // namespace nextword
