// Work without Python's global interpreter lock (GIL).
//
// Before version 3.14 an interpreter that ends unwinds the stack of every thread that asks for the lock, which C++
// answers with an abort. So the interpreter's shutdown waits for all threads that work without the lock, and a thread
// that would acquire it after that blocks forever.

#ifndef NEXTWORD_GIL_H
#define NEXTWORD_GIL_H

#include <nanobind/nanobind.h>

#include <chrono>
#include <optional>

namespace nextword {

// Releases the lock from here to the end of the scope. Thread-safe; the lock is held when it is made.
class GilRelease {
public:
    GilRelease();
    ~GilRelease();
    GilRelease(const GilRelease&) = delete;
    GilRelease& operator=(const GilRelease&) = delete;

private:
    std::optional<nanobind::gil_scoped_release> release_;
};

// Call periodically in long work without the lock. Throws to end the work: Python's exception for Ctrl-C, or
// InterpreterEnded, which reaches no caller.
class InterruptCheck {
public:
    struct InterpreterEnded {};
    void operator()();

private:
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// Call once: from then on the interpreter's shutdown waits.
void wait_at_exit();

}  // namespace nextword

#endif
