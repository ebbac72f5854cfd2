// Detection of preemption, where the system has given a thread's core to another program, and the back-off after it.

#ifndef NEXTWORD_PREEMPTION_H
#define NEXTWORD_PREEMPTION_H

#include <atomic>
#include <chrono>

namespace nextword {

using Clock = std::chrono::steady_clock;

// A thread that stalls this long is assumed preempted.
constexpr auto kStall = std::chrono::milliseconds(1);

// Let the core's other hardware thread run for a moment.
void relax_core();

// Spin for so long; false as soon as the thread is preempted. Ends early if `stopping`.
bool keeps_its_core(Clock::duration trial, const std::atomic<bool>& stopping);

// Pauses of a thread that was preempted: each twice as long as the one before until the thread keeps its core. To spin
// takes time from others, so it is done only where there seems to be room, or has not been for a second: beside more
// programs than cores, a thread still gets its share.
class Backoff {
public:
    Clock::duration pause() const { return pause_; }
    // Duration of a trial; 0 if none is worth it. It is short if there is room: then a burst of another program took
    // the core, such as a server's event loop, and the thread soon takes part again.
    Clock::duration trial();
    void grow();
    void reset();

private:
    static constexpr auto kShortest = std::chrono::milliseconds(5), kLongest = std::chrono::milliseconds(80);
    static constexpr auto kPatience = std::chrono::seconds(1);
    Clock::duration pause_ = kShortest;
    Clock::duration without_room_{0};
};

}  // namespace nextword

#endif
