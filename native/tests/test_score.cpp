// score.h beside the same sums written out in double, with each instruction set.

#include "score.h"

#include <limits>

#include "all_kernels.h"
#include "check.h"

using namespace nextword;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TokenScore score(const Kernels& kernels, const std::vector<float>& logits, int32_t token) {
    std::vector<float> weights(logits.size());
    return score_token(kernels, logits.data(), static_cast<int>(logits.size()), token, weights.data());
}

TokenScore score_in_double(const std::vector<float>& logits, int32_t token) {
    int32_t largest = 0, rank = 1;
    for (int32_t i = 0; i < static_cast<int32_t>(logits.size()); ++i) {
        if (logits[i] > logits[largest]) largest = i;
        rank += logits[i] > logits[token] || (logits[i] == logits[token] && i < token);
    }
    double total = 0.0, entropy = 0.0;
    for (const float logit : logits) total += std::exp(static_cast<double>(logit) - logits[largest]);
    for (const float logit : logits) {
        const double log_prob = static_cast<double>(logit) - logits[largest] - std::log(total);
        if (log_prob > -1e30) entropy -= std::exp(log_prob) * log_prob;
    }
    return {std::log(total) + logits[largest] - static_cast<double>(logits[token]), entropy, rank, largest};
}

void test_scores_are_those_written_out() {
    Random random(1);
    for (const int size : {1, 7, 64, 1000, 49152}) {
        for (const float spread : {0.0f, 0.1f, 3.0f, 40.0f}) {
            std::vector<float> logits = random.numbers(static_cast<size_t>(size));
            for (float& logit : logits) logit *= spread;
            if (size > 64) logits[static_cast<size_t>(random.below(size))] = -kInfinity;
            const int32_t token = random.below(size);
            const TokenScore expected = score_in_double(logits, token);
            for (const Kernels* kernels : all_kernels()) {
                const TokenScore found = score(*kernels, logits, token);
                const bool is_impossible = std::isinf(expected.nats) && std::isinf(found.nats);
                check(is_impossible || is_close(found.nats, expected.nats, 1e-6 * (1.0 + expected.nats)), "nats");
                check(is_close(found.entropy, expected.entropy, 2e-6 * (1.0 + expected.entropy)), "entropy");
                check(found.rank == expected.rank, "rank");
                check(found.largest == expected.largest, "largest");
            }
        }
    }
}

void test_of_equal_logits_the_lower_id_comes_first() {
    const std::vector<float> logits = {1.0f, 2.0f, 1.0f, 2.0f};
    for (const Kernels* kernels : all_kernels()) {
        for (const auto& [token, rank] : {std::pair{1, 1}, std::pair{3, 2}, std::pair{0, 3}, std::pair{2, 4}}) {
            check(score(*kernels, logits, token).rank == rank, "rank among equals");
        }
    }
}

void test_all_instruction_sets_give_the_same_bits() {
    Random random(2);
    std::vector<float> logits = random.numbers(5000);
    for (float& logit : logits) logit *= 12.0f;
    const TokenScore first = score(*all_kernels().front(), logits, 17);
    for (const Kernels* kernels : all_kernels()) {
        const TokenScore found = score(*kernels, logits, 17);
        check(found.nats == first.nats && found.entropy == first.entropy, "the same bits");
    }
}

void test_rows_that_are_no_distribution_give_no_number() {
    for (const std::vector<float>& logits :
         {std::vector<float>{1.0f, std::nanf("")}, {kInfinity, 0.0f}, {-kInfinity, -kInfinity}}) {
        const TokenScore found = score(*all_kernels().front(), logits, 0);
        check(std::isnan(found.nats) && std::isnan(found.entropy), "NaN");
    }
}

}  // namespace

int main() {
    test_scores_are_those_written_out();
    test_of_equal_logits_the_lower_id_comes_first();
    test_all_instruction_sets_give_the_same_bits();
    test_rows_that_are_no_distribution_give_no_number();
    return report("score");
}
