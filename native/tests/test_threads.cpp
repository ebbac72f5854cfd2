// ThreadPool: every unit exactly once, whatever the counts; many jobs, sleeps between them, and an end at any time.

#include "threads.h"

#include <chrono>
#include <memory>
#include <new>

#include "check.h"

using namespace nextword;

namespace {

// Run one job and see that each unit was done once.
void check_job(ThreadPool& pool, int num_units, int alone) {
    std::vector<std::atomic<int>> done(static_cast<size_t>(num_units));
    pool.run(
        num_units,
        [&](int first, int last) {
            for (int unit = first; unit < last; ++unit) ++done[unit];
        },
        alone);
    bool is_once = true;
    for (const std::atomic<int>& count : done) is_once = is_once && count == 1;
    check(is_once, "each of " + std::to_string(num_units) + " units is done once");
}

void test_every_unit_is_done_once(int num_threads) {
    ThreadPool pool(num_threads);
    Random random(num_threads);
    check(pool.num_threads() == num_threads, "the threads asked for");
    for (int job = 0; job < 3000; ++job) check_job(pool, random.below(job % 100 == 0 ? 5000 : 40), random.below(3));
    for (const int num_units : {0, 1, 65534, 65535, 65536, 140000}) check_job(pool, num_units, 1);
}

void test_a_job_sees_what_the_caller_wrote_and_the_caller_what_it_wrote() {
    ThreadPool pool(4);
    std::vector<int> values(257);
    for (int job = 1; job <= 2000; ++job) {
        const std::vector<int> before(values.size(), job);
        pool.run(static_cast<int>(values.size()), [&](int first, int last) {
            for (int unit = first; unit < last; ++unit) values[unit] = before[unit] + unit;
        });
        bool is_seen = true;
        for (size_t unit = 0; unit < values.size(); ++unit)
            is_seen = is_seen && values[unit] == job + static_cast<int>(unit);
        check(is_seen, "plain memory goes from the caller to the units and back");
    }
}

void test_expected_memory_changes_nothing() {
    ThreadPool pool(3);
    std::vector<uint8_t> there(5000, 7);
    for (int job = 0; job < 300; ++job) {
        // Some of what is expected is there, some was never, and jobs come while it is asked for.
        const auto* nowhere = reinterpret_cast<const uint8_t*>(static_cast<uintptr_t>(job) << 20);
        pool.prefetch_next({{there.data(), there.size()}, {nowhere, size_t{1} << 24}, {nullptr, 0}});
        if (job % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        check_job(pool, job % 40, 1);
    }
    check(there == std::vector<uint8_t>(5000, 7), "memory that is expected stays as it is");
}

void test_threads_that_slept_come_back() {
    ThreadPool pool(3);
    for (int pause = 0; pause < 20; ++pause) {
        std::this_thread::sleep_for(std::chrono::milliseconds(pause % 5));
        check_job(pool, 100, 1);
    }
}

void test_a_caller_that_waits_long_is_woken() {
    ThreadPool pool(2);
    for (int job = 0; job < 10; ++job) {
        std::atomic<int> done{0};
        pool.run(2, [&](int first, int last) {
            // The second unit takes longer than anyone spins; whoever has it, the other one waits.
            if (last == 2) std::this_thread::sleep_for(std::chrono::milliseconds(3));
            done += last - first;
        });
        check(done == 2, "both units are done when run returns");
    }
}

void test_threads_that_were_held_up_pause_and_come_back() {
    ThreadPool pool(3);
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(150);
    for (int job = 0; std::chrono::steady_clock::now() < end; ++job) {
        if (job % 200 == 0) {
            // A unit of another thread's share that takes much longer than the rest, as if that thread had lost its
            // core.
            pool.run(100, [caller = std::this_thread::get_id()](int first, int last) {
                if (first > 50 || last <= 50 || std::this_thread::get_id() == caller) return;
                std::this_thread::sleep_for(std::chrono::milliseconds(4));
            });
        }
        check_job(pool, 50, 1);
    }
}

void test_pools_end_at_any_time() {
    for (int trial = 0; trial < 200; ++trial) {
        const auto pool = std::make_unique<ThreadPool>(1 + trial % 5);
        if (trial % 3 != 0) check_job(*pool, trial % 7, 0);
        if (trial % 20 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
}

void test_the_exception_of_a_unit_reaches_the_caller() {
    for (const int num_threads : {1, 2, 5}) {
        ThreadPool pool(num_threads);
        for (int bad = 0; bad < 40; ++bad) {
            const auto work = [&](int first, int last) {
                if (first <= bad && bad < last) throw std::bad_alloc();
            };
            check_throws<std::bad_alloc>([&] { pool.run(40, work); }, "what a unit throws");
            check_job(pool, 40, 1);
        }
    }
}

void test_pools_beside_each_other_do_not_mix() {
    std::vector<std::thread> callers;
    std::atomic<int> total{0};
    for (int caller = 0; caller < 3; ++caller) {
        callers.emplace_back([&total] {
            ThreadPool pool(2);
            for (int job = 0; job < 500; ++job) pool.run(20, [&](int first, int last) { total += last - first; });
        });
    }
    for (std::thread& caller : callers) caller.join();
    check(total == 3 * 500 * 20, "each pool does its own units");
}

}  // namespace

int main() {
    for (const int num_threads : {1, 2, 3, 5, 9}) test_every_unit_is_done_once(num_threads);
    test_a_job_sees_what_the_caller_wrote_and_the_caller_what_it_wrote();
    test_expected_memory_changes_nothing();
    test_threads_that_slept_come_back();
    test_a_caller_that_waits_long_is_woken();
    test_threads_that_were_held_up_pause_and_come_back();
    test_pools_end_at_any_time();
    test_the_exception_of_a_unit_reaches_the_caller();
    test_pools_beside_each_other_do_not_mix();
    return report("threads");
}
