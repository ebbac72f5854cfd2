// select.h beside sorting everything, with each instruction set; the masses beside exp in double.

#include "select.h"

#include <algorithm>
#include <numeric>

#include "all_kernels.h"
#include "check.h"

using namespace nextword;

namespace {

// ---- rows of every difficult kind ----

constexpr int kKinds = 9;

float key_of_kind(int kind, Random& random) {
    const float x = random.number() + random.number() + random.number();
    switch (kind) {
        case 0: return 4.0f * x;
        case 1: return 3.0f;                                             // all equal
        case 2: return static_cast<float>(random.below(2));              // two values
        case 3: return std::nearbyint(4.0f * x) / 4.0f;                  // ties, 0 and -0 among them
        case 4: return random.below(500) == 0 ? 50.0f : 0.0f;            // peaks over a plain
        case 5: return random.below(2) == 0 ? -3e38f : x;                // forbidden by a very low logit
        case 6: return 1e38f * x;
        case 7: return 0x1p-140f * x;                                    // denormal
        default: return -std::ldexp(1.0f, random.between(-120, 120));    // each octave
    }
}

std::vector<float> keys_of_kind(int kind, int size, Random& random) {
    std::vector<float> keys(static_cast<size_t>(size));
    for (float& key : keys) key = key_of_kind(kind, random);
    return keys;
}

// Whole numbers that have nothing to do with keys, every third 0.
std::vector<float> any_masses(int size, Random& random) {
    std::vector<float> masses(static_cast<size_t>(size));
    for (float& mass : masses) {
        mass = random.below(3) == 0 ? 0.0f : static_cast<float>(random.below(1 << 20)) * static_cast<float>(1 << random.below(14));
    }
    masses[static_cast<size_t>(random.below(size))] = 1.0f;
    return masses;
}

// ---- the judge ----

std::vector<int64_t> smallest_set_by_sorting(const std::vector<float>& keys, const std::vector<float>& masses, double wanted) {
    std::vector<int64_t> order(keys.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return keys[static_cast<size_t>(a)] > keys[static_cast<size_t>(b)]; });
    double mass = 0.0;
    size_t count = 0;
    while (count < order.size() && mass < wanted) mass += static_cast<double>(masses[static_cast<size_t>(order[count++])]);
    order.resize(count);
    std::sort(order.begin(), order.end());
    return order;
}

double total_of(const std::vector<float>& masses) { return std::accumulate(masses.begin(), masses.end(), 0.0); }

std::string where(const Kernels& kernels, int kind, int size) {
    return std::string(kernels.name) + ", kind " + std::to_string(kind) + ", size " + std::to_string(size);
}

constexpr int kSizes[] = {1, 2, 15, 16, 17, 63, 64, 65, 255, 256, 257, 300, 1000, 5000, 20000};

void test_smallest_set_equals_sorting() {
    Random random(1);
    for (int kind = 0; kind < kKinds; ++kind) {
        for (const int size : kSizes) {
            const std::vector<float> keys = keys_of_kind(kind, size, random);
            const float highest = *std::max_element(keys.begin(), keys.end());
            std::vector<float> rising(keys.size());
            choose_kernels("portable").masses(keys.data(), size, highest, 1.0f, 36, rising.data());
            for (const std::vector<float>& masses : {rising, any_masses(size, random)}) {
                const double total = total_of(masses);
                for (const double share : {1e-9, 0.3, 0.9, 0.999999, 1.0}) {
                    const std::vector<int64_t> expected = smallest_set_by_sorting(keys, masses, share * total);
                    for (const Kernels* kernels : all_kernels()) {
                        const auto found = smallest_set(*kernels, keys.data(), masses.data(), size, share * total, total);
                        check(found == expected, "smallest set, " + where(*kernels, kind, size) + ", share " + std::to_string(share));
                    }
                }
            }
        }
    }
}

void test_largest_equals_sorting() {
    Random random(2);
    for (int kind = 0; kind < kKinds; ++kind) {
        for (const int size : kSizes) {
            const std::vector<float> keys = keys_of_kind(kind, size, random);
            for (const int k : {0, 1, 2, 50, 333, size / 2, size - 1, size, size + 1}) {
                const std::vector<int64_t> expected = smallest_set_by_sorting(keys, std::vector<float>(keys.size(), 1.0f), k);
                for (const Kernels* kernels : all_kernels()) {
                    check(largest(*kernels, keys.data(), size, k) == expected, std::to_string(k) + " largest, " + where(*kernels, kind, size));
                }
            }
        }
    }
}

// So that every edge of what is passed over or guessed is met.
void test_each_number_of_the_largest() {
    constexpr int size = 1000;
    Random random(4);
    for (const int kind : {0, 3}) {
        const std::vector<float> keys = keys_of_kind(kind, size, random), ones(size, 1.0f);
        for (int k = 1; k <= size; ++k) {
            const std::vector<int64_t> expected = smallest_set_by_sorting(keys, ones, k);
            const Kernels& kernels = choose_kernels("");
            check(largest(kernels, keys.data(), size, k) == expected, std::to_string(k) + " largest, " + where(kernels, kind, size));
            check(smallest_set(kernels, keys.data(), ones.data(), size, k, size) == expected, std::to_string(k) + " of mass 1 each");
        }
    }
}

// A sample of every third key holds all the mass, and so three times what it should: guesses go as wrong as they can.
void test_a_sample_that_misleads() {
    constexpr int size = 768;
    std::vector<float> keys(size), masses(size);
    for (int i = 0; i < size; ++i) {
        keys[static_cast<size_t>(i)] = static_cast<float>(-i);
        masses[static_cast<size_t>(i)] = i % 3 == 0 ? 3.0f : 0.0f;
    }
    for (int wanted = 1; wanted <= size; ++wanted) {
        const auto found = smallest_set(choose_kernels(""), keys.data(), masses.data(), size, wanted, size);
        check(found == smallest_set_by_sorting(keys, masses, wanted), "mass " + std::to_string(wanted) + " of 768");
    }
}

void test_position_at_is_the_first_whose_cumulated_mass_exceeds_the_target() {
    Random random(3);
    for (const int size : {1, 16, 511, 512, 513, 1024, 5000}) {
        const std::vector<float> masses = any_masses(size, random);
        const double total = total_of(masses);
        for (const double share : {0.0, 0.001, 0.5, 0.999}) {
            const int64_t target = static_cast<int64_t>(share * (total - 1.0));
            size_t expected = 0;
            double below = static_cast<double>(masses[0]);
            while (below <= static_cast<double>(target)) below += static_cast<double>(masses[++expected]);
            for (const Kernels* kernels : all_kernels()) {
                check(position_at(*kernels, masses.data(), size, target) == static_cast<int64_t>(expected), "draw, " + where(*kernels, 0, size));
            }
        }
    }
}

void test_too_little_mass_is_refused() {
    const std::vector<float> keys(1000, 0.0f), masses(1000, 1.0f);
    check_throws<std::invalid_argument>(
        [&] { smallest_set(choose_kernels(""), keys.data(), masses.data(), 1000, 1001.0, 1001.0); }, "1,001 of 1,000 refused");
}

void test_masses_are_exponentials_and_the_same_with_every_instruction_set() {
    constexpr int size = 100003, bits = 36;
    constexpr double unit = 0x1p36;
    for (const float divisor : {1.0f, 0.7f, 1e-30f}) {
        std::vector<float> logits(size), expected(size);
        for (int i = 0; i < size; ++i) logits[static_cast<size_t>(i)] = 5.0f - static_cast<float>(i) * 0x1p-10f;
        logits.back() = -3e38f;
        for (const Kernels* kernels : all_kernels()) {
            std::vector<float> masses(size);
            kernels->masses(logits.data(), size, 5.0f, divisor, bits, masses.data());
            if (expected[0] == 0.0f) expected = masses;
            check(is_same(masses, expected), std::string("masses as the portable ones, ") + kernels->name);
            check(kernels->sum_from(logits.data(), 0.5f, masses.data(), size) == std::accumulate(masses.begin(), masses.begin() + 4609, 0.0),
                  std::string("mass from a key on, ") + kernels->name);
        }
        for (size_t i = 0; i < logits.size(); ++i) {
            const double exact = std::exp(static_cast<double>((logits[i] - 5.0f) / divisor)) * unit;
            check(is_close(static_cast<double>(expected[i]), exact, 0.5 + 1.3 * 0x1p-23 * exact), "mass " + std::to_string(i));
        }
    }
}

}  // namespace

int main() {
    test_smallest_set_equals_sorting();
    test_largest_equals_sorting();
    test_each_number_of_the_largest();
    test_a_sample_that_misleads();
    test_position_at_is_the_first_whose_cumulated_mass_exceeds_the_target();
    test_too_little_mass_is_refused();
    test_masses_are_exponentials_and_the_same_with_every_instruction_set();
    return report("select");
}
