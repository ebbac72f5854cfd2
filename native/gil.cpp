#include "gil.h"

#include <atomic>
#include <thread>

#include "fork.h"

namespace nb = nanobind;

namespace nextword {

namespace {

// Interval between two checks for Ctrl-C: short for a user, too long to cost time.
constexpr auto kCheckInterval = std::chrono::milliseconds(100);

ProcessCount num_released;  // threads that work without the lock
std::atomic<bool> is_ending{false};
std::thread::id ending_thread;  // the one that goes on

bool has_interpreter() { return !is_ending || std::this_thread::get_id() == ending_thread; }

void sleep_if_ended() {
    if (has_interpreter()) return;
    num_released.subtract();
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

void wait_for_threads() {
    ending_thread = std::this_thread::get_id();
    is_ending = true;
    const nb::gil_scoped_release release;
    while (num_released.here() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace

GilRelease::GilRelease() {
    num_released.add();
    release_.emplace();
    sleep_if_ended();
}

GilRelease::~GilRelease() {
    sleep_if_ended();
    release_.reset();
    num_released.subtract();
}

void InterruptCheck::operator()() {
    if (!has_interpreter()) throw InterpreterEnded();
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < kCheckInterval) return;
    last_ = now;
    const nb::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
}

void wait_at_exit() { nb::module_::import_("atexit").attr("register")(nb::cpp_function(&wait_for_threads)); }

}  // namespace nextword
