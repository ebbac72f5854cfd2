// select.h beside sorting everything, with each instruction set; the weights beside exp in double.

#include "select.h"

#include <algorithm>
#include <numeric>

#include "all_kernels.h"
#include "check.h"
#include "choose.h"
#include "philox.h"

using namespace nextword;

namespace {

// ---- rows of every difficult kind ----

constexpr int kKinds = 9;

float key_of_kind(int kind, Random& random) {
    const float x = random.number() + random.number() + random.number();
    switch (kind) {
        case 0: return 4.0f * x;
        case 1: return 3.0f;                                   // all equal
        case 2: return static_cast<float>(random.below(2));    // two values
        case 3: return std::nearbyint(4.0f * x) / 4.0f;        // ties, 0 and -0 among them
        case 4: return random.below(500) == 0 ? 50.0f : 0.0f;  // peaks over a plain
        case 5: return random.below(2) == 0 ? -3e38f : x;      // forbidden by a very low logit
        case 6: return 1e38f * x;
        case 7: return 0x1p-140f * x;                                  // denormal
        default: return -std::ldexp(1.0f, random.between(-120, 120));  // each octave
    }
}

std::vector<float> keys_of_kind(int kind, int size, Random& random) {
    std::vector<float> keys(static_cast<size_t>(size));
    for (float& key : keys) key = key_of_kind(kind, random);
    return keys;
}

// Whole numbers that have nothing to do with keys, every third 0.
std::vector<float> any_weights(int size, Random& random) {
    std::vector<float> weights(static_cast<size_t>(size));
    for (float& weight : weights) {
        weight = random.below(3) == 0
                     ? 0.0f
                     : static_cast<float>(random.below(1 << 20)) * static_cast<float>(1 << random.below(14));
    }
    weights[static_cast<size_t>(random.below(size))] = 1.0f;
    return weights;
}

// ---- the judge ----

std::vector<int64_t> smallest_set_by_sorting(const std::vector<float>& keys, const std::vector<float>& weights,
                                             double wanted) {
    std::vector<int64_t> order(keys.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return keys[static_cast<size_t>(a)] > keys[static_cast<size_t>(b)]; });
    double weight = 0.0;
    size_t count = 0;
    while (count < order.size() && weight < wanted)
        weight += static_cast<double>(weights[static_cast<size_t>(order[count++])]);
    order.resize(count);
    std::sort(order.begin(), order.end());
    return order;
}

double total_of(const std::vector<float>& weights) { return std::accumulate(weights.begin(), weights.end(), 0.0); }

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
            choose_kernels("portable").softmax_weights(keys.data(), size, highest, 1.0f, 36, rising.data());
            for (const std::vector<float>& weights : {rising, any_weights(size, random)}) {
                const double total = total_of(weights);
                for (const double share : {1e-9, 0.3, 0.9, 0.999999, 1.0}) {
                    const std::vector<int64_t> expected = smallest_set_by_sorting(keys, weights, share * total);
                    for (const Kernels* kernels : all_kernels()) {
                        const auto found =
                            smallest_set(*kernels, keys.data(), weights.data(), size, share * total, total);
                        check(found == expected,
                              "smallest set, " + where(*kernels, kind, size) + ", share " + std::to_string(share));
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
                const std::vector<int64_t> expected =
                    smallest_set_by_sorting(keys, std::vector<float>(keys.size(), 1.0f), k);
                for (const Kernels* kernels : all_kernels()) {
                    check(largest(*kernels, keys.data(), size, k) == expected,
                          std::to_string(k) + " largest, " + where(*kernels, kind, size));
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
            check(largest(kernels, keys.data(), size, k) == expected,
                  std::to_string(k) + " largest, " + where(kernels, kind, size));
            check(smallest_set(kernels, keys.data(), ones.data(), size, k, size) == expected,
                  std::to_string(k) + " of weight 1 each");
        }
    }
}

// A sample of every third key holds all the weight, and so three times what it should: guesses go as wrong as they can.
void test_a_sample_that_misleads() {
    constexpr int size = 768;
    std::vector<float> keys(size), weights(size);
    for (int i = 0; i < size; ++i) {
        keys[static_cast<size_t>(i)] = static_cast<float>(-i);
        weights[static_cast<size_t>(i)] = i % 3 == 0 ? 3.0f : 0.0f;
    }
    for (int wanted = 1; wanted <= size; ++wanted) {
        const auto found = smallest_set(choose_kernels(""), keys.data(), weights.data(), size, wanted, size);
        check(found == smallest_set_by_sorting(keys, weights, wanted), "weight " + std::to_string(wanted) + " of 768");
    }
}

void test_position_at_is_the_first_whose_cumulated_weight_exceeds_the_target() {
    Random random(3);
    for (const int size : {1, 16, 511, 512, 513, 1024, 5000}) {
        const std::vector<float> weights = any_weights(size, random);
        const double total = total_of(weights);
        for (const double share : {0.0, 0.001, 0.5, 0.999}) {
            const int64_t target = static_cast<int64_t>(share * (total - 1.0));
            size_t expected = 0;
            double below = static_cast<double>(weights[0]);
            while (below <= static_cast<double>(target)) below += static_cast<double>(weights[++expected]);
            for (const Kernels* kernels : all_kernels()) {
                check(position_at(*kernels, weights.data(), size, target) == static_cast<int64_t>(expected),
                      "draw, " + where(*kernels, 0, size));
            }
        }
    }
}

// ---- the choice in one go ----

int64_t draw_by_steps(const Kernels& kernels, const std::vector<float>& logits, Truncation truncation, int bits,
                      uint64_t number) {
    std::vector<int64_t> left(logits.size());
    std::iota(left.begin(), left.end(), 0);
    const auto weights_left = [&] {
        std::vector<float> kept(left.size()), weights(left.size());
        std::transform(left.begin(), left.end(), kept.begin(),
                       [&](int64_t i) { return logits[static_cast<size_t>(i)]; });
        kernels.softmax_weights(kept.data(), static_cast<int>(kept.size()), *std::max_element(kept.begin(), kept.end()),
                                truncation.divisor, bits, weights.data());
        return weights;
    };
    const auto keep = [&](const std::vector<float>& weights, double wanted) {
        std::vector<float> kept(left.size());
        std::transform(left.begin(), left.end(), kept.begin(),
                       [&](int64_t i) { return logits[static_cast<size_t>(i)]; });
        std::vector<int64_t> fewer;
        for (const int64_t i : smallest_set_by_sorting(kept, weights, wanted))
            fewer.push_back(left[static_cast<size_t>(i)]);
        left = fewer;
    };
    if (truncation.top_k > 0) keep(std::vector<float>(left.size(), 1.0f), static_cast<double>(truncation.top_k));
    if (truncation.top_p < 1.0) keep(weights_left(), truncation.top_p * total_of(weights_left()));
    const std::vector<float> weights = weights_left();
    uint64_t target =
        static_cast<uint64_t>(static_cast<unsigned __int128>(number) * static_cast<uint64_t>(total_of(weights)) >> 53);
    size_t i = 0;
    while (static_cast<uint64_t>(weights[i]) <= target) target -= static_cast<uint64_t>(weights[i++]);
    return left[i];
}

void test_the_draw_is_that_of_its_steps() {
    Random random(5);
    for (int kind = 0; kind < kKinds; ++kind) {
        for (const int size : {1, 17, 64, 300, 3000}) {
            std::vector<float> logits = keys_of_kind(kind, size, random);
            if (size == 3000) std::fill(logits.begin() + 100, logits.begin() + 1900, -HUGE_VALF);
            const int bits = 52 - std::ilogb(size);
            for (const Truncation truncation :
                 {Truncation{1.0f, 0, 1.0}, {0.7f, 0, 0.9}, {1.0f, 50, 1.0}, {2.0f, 2000, 0.5}}) {
                for (const double share : {0.0, 0.2, 0.7, 1.0}) {
                    const uint64_t number = static_cast<uint64_t>(share * 0x1.fffffffffffffp52);
                    const int64_t expected =
                        draw_by_steps(choose_kernels("portable"), logits, truncation, bits, number);
                    for (const Kernels* kernels : all_kernels()) {
                        check(draw(*kernels, logits.data(), size, truncation, number) == expected,
                              "the draw, " + where(*kernels, kind, size));
                    }
                }
            }
        }
    }
}

void test_argmax_is_the_first_of_the_largest() {
    Random random(6);
    for (int kind = 0; kind < kKinds; ++kind) {
        for (const int size : kSizes) {
            const std::vector<float> logits = keys_of_kind(kind, size, random);
            const int64_t expected = std::max_element(logits.begin(), logits.end()) - logits.begin();
            for (const Kernels* kernels : all_kernels()) {
                check(argmax(*kernels, logits.data(), size) == expected, "argmax, " + where(*kernels, kind, size));
            }
        }
    }
}

void test_broken_rows_are_seen_wherever_they_are() {
    for (const Kernels* kernels : all_kernels()) {
        for (const int size : {1, 16, 64, 100}) {
            for (const float broken : {std::nanf(""), HUGE_VALF}) {
                for (int i = 0; i < size; ++i) {
                    std::vector<float> logits(static_cast<size_t>(size), -1.0f);
                    logits[static_cast<size_t>(i)] = broken;
                    check(argmax(*kernels, logits.data(), size) == -1,
                          "argmax of a broken row, " + where(*kernels, i, size));
                    check(draw(*kernels, logits.data(), size, {1.0f, 0, 0.9}, 7) == -1,
                          "draw from a broken row, " + where(*kernels, i, size));
                }
            }
            const std::vector<float> nothing(static_cast<size_t>(size), -HUGE_VALF);
            check(argmax(*kernels, nothing.data(), size) == -1, "nothing is allowed, " + where(*kernels, 0, size));
        }
    }
}

// The first and the last known answers that the generator's authors publish (Random123, kat_vectors).
void test_philox_gives_its_known_answers() {
    check(philox({0, 0, 0, 0}, {0, 0}) ==
              std::array<uint64_t, 4>{0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b},
          "philox of zeros");
    const uint64_t ones = ~uint64_t{0};
    check(philox({ones, ones, ones, ones}, {ones, ones}) ==
              std::array<uint64_t, 4>{0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0},
          "philox of ones");
}

void test_tokens_chosen_together_are_those_chosen_alone() {
    Random random(9);
    const std::vector<Truncation> truncations{{0.0f, 0, 1.0}, {1.0f, 0, 1.0}, {0.7f, 0, 0.9}, {1.0f, 40, 0.9}};
    std::vector<std::vector<float>> rows;
    std::vector<Choice> choices;
    for (uint64_t i = 0; i < 90; ++i) {
        rows.push_back(keys_of_kind(static_cast<int>(i % kKinds), 1 + random.below(3000), random));
        if (i % 10 == 9) rows.back().back() = std::nanf("");
        choices.push_back(
            {rows.back().data(), static_cast<int>(rows.back().size()), truncations[i % 4], {i, 1, 7 * i}});
    }
    for (const Kernels* kernels : all_kernels()) {
        std::vector<int64_t> alone;
        for (const Choice& choice : choices) {
            const auto& [logits, size, truncation, draw_of] = choice;
            alone.push_back(truncation.divisor == 0.0f
                                ? argmax(*kernels, logits, size)
                                : draw(*kernels, logits, size, truncation, random_number(draw_of)));
        }
        for (const int num_threads : {1, 2, 5}) {
            ThreadPool threads(num_threads);
            check(choose(*kernels, threads, choices) == alone, "the same tokens with any number of threads");
        }
    }
}

void test_too_little_weight_is_refused() {
    const std::vector<float> keys(1000, 0.0f), weights(1000, 1.0f);
    check_throws<std::invalid_argument>(
        [&] { smallest_set(choose_kernels(""), keys.data(), weights.data(), 1000, 1001.0, 1001.0); },
        "1,001 of 1,000 refused");
}

void test_weights_are_exponentials_and_the_same_with_every_instruction_set() {
    constexpr int size = 100003, bits = 36;
    constexpr double unit = 0x1p36;
    for (const float divisor : {1.0f, 0.7f, 1e-30f}) {
        std::vector<float> logits(size), expected(size);
        for (int i = 0; i < size; ++i) logits[static_cast<size_t>(i)] = 5.0f - static_cast<float>(i) * 0x1p-10f;
        logits.back() = -3e38f;
        for (const Kernels* kernels : all_kernels()) {
            std::vector<float> weights(size);
            kernels->softmax_weights(logits.data(), size, 5.0f, divisor, bits, weights.data());
            if (expected[0] == 0.0f) expected = weights;
            check(is_same(weights, expected), std::string("weights as the portable ones, ") + kernels->name);
            check(kernels->sum_from(logits.data(), 0.5f, weights.data(), size) ==
                      std::accumulate(weights.begin(), weights.begin() + 4609, 0.0),
                  std::string("weight from a key on, ") + kernels->name);
        }
        for (size_t i = 0; i < logits.size(); ++i) {
            const double exact = std::exp(static_cast<double>((logits[i] - 5.0f) / divisor)) * unit;
            check(is_close(static_cast<double>(expected[i]), exact, 0.5 + 1.3 * 0x1p-23 * exact),
                  "weight " + std::to_string(i));
        }
    }
}

}  // namespace

int main() {
    test_smallest_set_equals_sorting();
    test_largest_equals_sorting();
    test_each_number_of_the_largest();
    test_a_sample_that_misleads();
    test_position_at_is_the_first_whose_cumulated_weight_exceeds_the_target();
    test_the_draw_is_that_of_its_steps();
    test_argmax_is_the_first_of_the_largest();
    test_broken_rows_are_seen_wherever_they_are();
    test_philox_gives_its_known_answers();
    test_tokens_chosen_together_are_those_chosen_alone();
    test_too_little_weight_is_refused();
    test_weights_are_exponentials_and_the_same_with_every_instruction_set();
    return report("select");
}
