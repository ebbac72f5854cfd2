#include "preemption.h"

#include <algorithm>

#include "system.h"

namespace nextword {

namespace {

constexpr auto kTrial = std::chrono::milliseconds(3), kLongTrial = std::chrono::milliseconds(25);

}  // namespace

void relax_core() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

bool keeps_its_core(Clock::duration trial, const std::atomic<bool>& stopping) {
    Clock::time_point last = Clock::now();
    for (const Clock::time_point end = last + trial; last < end && !stopping;) {
        relax_core();
        const Clock::time_point now = Clock::now();
        if (now - last > kStall) return false;
        last = now;
    }
    return true;
}

void Backoff::grow() { pause_ = std::min<Clock::duration>(2 * pause_, kLongest); }

void Backoff::reset() {
    pause_ = kShortest;
    without_room_ = Clock::duration{0};
}

Clock::duration Backoff::trial() {
    without_room_ += pause_;
    const bool has_room = has_room_for_this_thread();
    if (!has_room && without_room_ < kPatience) return Clock::duration{0};
    without_room_ = Clock::duration{0};
    return has_room ? kTrial : kLongTrial;
}

}  // namespace nextword
