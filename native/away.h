// Threads that compute do not hold Python's lock meanwhile. When the interpreter ends, before version 3.14 it ends
// every thread that asks for the lock, by unwinding its stack, which C++ answers with an abort. So the interpreter's
// end waits for those who are away, and who would come back after that stays away for ever.

#ifndef NEXTWORD_AWAY_H
#define NEXTWORD_AWAY_H

#include <nanobind/nanobind.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

namespace nextword {

// How many threads of this process are at something. A forked process inherits the number without the threads.
class ProcessCount {
public:
    void add();
    void subtract() { --state_; }
    int here() const;
    // Whether threads of the process that this one was forked from were at it then.
    bool is_inherited() const;

private:
    std::atomic<uint64_t> state_{0};  // the process in the upper half, the number in the lower one
};

// Without the lock from here to the end of the scope. Thread-safe, and made with the lock held.
class AwayFromPython {
public:
    AwayFromPython();
    ~AwayFromPython();
    AwayFromPython(const AwayFromPython&) = delete;
    AwayFromPython& operator=(const AwayFromPython&) = delete;

private:
    std::optional<nanobind::gil_scoped_release> release_;
};

// Now and then in long work, without the lock. Throws where the work is no longer wanted: what Python makes of Ctrl-C,
// or an Unwanted that nobody sees when the interpreter ends.
class Pause {
public:
    struct Unwanted {};
    void operator()();

private:
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// To be called once: from then on the interpreter's end waits.
void wait_at_exit();

}  // namespace nextword

#endif
