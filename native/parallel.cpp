#include "parallel.h"

#include <algorithm>

#include "first_exception.h"
#include "system.h"

namespace nextword {

namespace {

// The entries that compilers call for `#pragma omp parallel`; PyTorch loads its runtime for the whole process.
struct OpenMp {
    void (*parallel)(void (*)(void*), void*, unsigned num_threads, unsigned flags);
    int (*max_threads)();
    int (*thread)();
    int (*num_threads)();
};

template <class Function>
void find(const char* name, Function& function) {
    function = reinterpret_cast<Function>(find_function(name));
}

OpenMp find_open_mp() {
    OpenMp found{};
    find("GOMP_parallel", found.parallel);
    find("omp_get_max_threads", found.max_threads);
    find("omp_get_thread_num", found.thread);
    find("omp_get_num_threads", found.num_threads);
    return found;
}

const OpenMp& open_mp() {
    static const OpenMp found = find_open_mp();
    return found;
}

struct Team {
    int64_t num_units;
    SharedWork call;
    const void* work;
    FirstException thrown;
};

void do_part(void* held) {
    Team& team = *static_cast<Team*>(held);
    const int64_t thread = open_mp().thread(), count = open_mp().num_threads();
    const int64_t first = team.num_units * thread / count, last = team.num_units * (thread + 1) / count;
    team.thrown.keep([&] {
        if (first < last) team.call(team.work, first, last);
    });
}

}  // namespace

void share_out(int64_t num_units, int64_t least, SharedWork call, const void* work) {
    if (num_units <= 0) return;
    const OpenMp& omp = open_mp();
    const bool is_there = omp.parallel && omp.max_threads && omp.thread && omp.num_threads;
    const int64_t num_threads =
        is_there ? std::min<int64_t>(omp.max_threads(), num_units / std::max<int64_t>(least, 1)) : 1;
    if (num_threads <= 1) {
        call(work, 0, num_units);
        return;
    }
    Team team{num_units, call, work, {}};
    omp.parallel(do_part, &team, static_cast<unsigned>(num_threads), 0);
    team.thrown.rethrow();
}

}  // namespace nextword
