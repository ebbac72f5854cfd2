#include "score.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "select.h"

namespace nextword {

namespace {

constexpr int kSummed = 512;  // products that are added as floats before their sum is added to a double

// The sum of weight x distance below the highest logit. Its distances are cut where weights are none.
double weighted_distance(const float* logits, const float* weights, int size, float highest) {
    double total = 0.0;
    for (int first = 0; first < size; first += kSummed) {
        const int count = std::min(kSummed, size - first);
        float lanes[kLanes] = {};
        int i = 0;
        for (; i + kLanes <= count; i += kLanes) {
            for (int lane = 0; lane < kLanes; ++lane) {
                const int at = first + i + lane;
                lanes[lane] += weights[at] * std::min(highest - logits[at], 64.0f);
            }
        }
        for (; i < count; ++i) lanes[0] += weights[first + i] * std::min(highest - logits[first + i], 64.0f);
        for (const float lane : lanes) total += static_cast<double>(lane);
    }
    return total;
}

int32_t rank_of(const float* logits, int size, int32_t token) {
    const float own = logits[token];
    int32_t before = 0;
    for (int i = 0; i < token; ++i) before += logits[i] >= own;
    for (int i = token + 1; i < size; ++i) before += logits[i] > own;
    return before + 1;
}

}  // namespace

TokenScore score_token(const Kernels& kernels, const float* logits, int size, int32_t token, float* weights) {
    const auto largest = static_cast<int32_t>(argmax(kernels, logits, size));
    if (largest < 0) {
        const double nan = std::numeric_limits<double>::quiet_NaN();
        return {nan, nan, 0, -1};
    }
    const float highest = logits[largest];
    const int bits = unit_bits(size);
    kernels.softmax_weights(logits, size, highest, 1.0f, bits, weights);
    const double total = kernels.sum_from(weights, 0.0f, weights, size);
    const double log_total = std::log(total) - bits * std::log(2.0);
    const double distance = static_cast<double>(highest) - static_cast<double>(logits[token]);
    const double entropy = log_total + weighted_distance(logits, weights, size, highest) / total;
    return {log_total + distance, entropy, rank_of(logits, size, token), largest};
}

}  // namespace nextword
