#include "away.h"

#include <unistd.h>

#include <thread>

namespace nb = nanobind;

namespace nextword {

namespace {

// Between two looks for Ctrl-C: soon enough for a person, too seldom to be felt.
constexpr auto kBetweenLooks = std::chrono::milliseconds(100);

ProcessCount away;
std::atomic<bool> is_ending{false};
std::thread::id ending_thread;  // the one that goes on

bool is_unwanted() { return is_ending && std::this_thread::get_id() != ending_thread; }

void stay_if_unwanted() {
    if (!is_unwanted()) return;
    away.subtract();
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

void wait_for_threads() {
    ending_thread = std::this_thread::get_id();
    is_ending = true;
    const nb::gil_scoped_release release;
    while (away.here() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

uint64_t this_process() { return static_cast<uint64_t>(getpid()) << 32; }

}  // namespace

void ProcessCount::add() {
    const uint64_t process = this_process();
    uint64_t state = state_;
    while (!state_.compare_exchange_weak(state, (state >> 32 == process >> 32 ? state : process) + 1)) {
    }
}

int ProcessCount::here() const {
    const uint64_t state = state_;
    return state >> 32 == this_process() >> 32 ? static_cast<int>(state & 0xffffffffu) : 0;
}

bool ProcessCount::is_inherited() const {
    const uint64_t state = state_;
    return (state & 0xffffffffu) != 0 && state >> 32 != this_process() >> 32;
}

AwayFromPython::AwayFromPython() {
    away.add();
    release_.emplace();
    stay_if_unwanted();
}

AwayFromPython::~AwayFromPython() {
    stay_if_unwanted();
    release_.reset();
    away.subtract();
}

void Pause::operator()() {
    if (is_unwanted()) throw Unwanted();
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < kBetweenLooks) return;
    last_ = now;
    const nb::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
}

void wait_at_exit() { nb::module_::import_("atexit").attr("register")(nb::cpp_function(&wait_for_threads)); }

}  // namespace nextword
