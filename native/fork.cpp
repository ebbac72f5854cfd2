#include "fork.h"

namespace nextword {

namespace {

uint64_t this_process() { return static_cast<uint64_t>(process_id()) << 32; }

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

}  // namespace nextword
