// Kernels for choosing a token from a row of logits: whole-number softmax weights, sums, maxima, positions.

#ifndef NEXTWORD_SELECT_IMPL_H
#define NEXTWORD_SELECT_IMPL_H

#include <algorithm>

#include "math_impl.h"

namespace nextword {
namespace {

// e^x x 2^bits for x <= 0, within 1.3 units in the last place; below e^-64, which is no weight, it stays at that.
// Without fma, so that decoding/softmax_weights.py can do the same with numpy, which has none: any change is to be made
// in both.
F scaled_exp(F x, F bits) {
    const F clipped = Simd::max(x, Simd::set(-64.0f));
    const F n = Simd::round(Simd::mul(clipped, Simd::set(0x1.715476p+0f)));  // 1 / ln 2
    F r = Simd::sub(clipped, Simd::mul(n, Simd::set(0x1.63p-1f)));  // ln 2 in two parts, the first exact in few bits
    r = Simd::sub(r, Simd::mul(n, Simd::set(-0x1.bd0106p-13f)));
    F p = Simd::set(0x1.6a21acp-10f);
    for (const float coefficient : {0x1.123b6ap-7f, 0x1.5558fap-5f, 0x1.555490p-3f, 0x1.fffffcp-2f, 1.0f, 1.0f}) {
        p = Simd::add(Simd::mul(p, r), Simd::set(coefficient));
    }
    return Simd::mul(p, Simd::pow2(Simd::add(n, bits)));
}

void softmax_weights(const float* logits, int size, float highest, float divisor, int bits, float* out) {
    const F top = Simd::set(highest), units = Simd::set(static_cast<float>(bits));
    const auto weights_of = [&](const float* from) {
        const F distance = Simd::sub(Simd::load(from), top);
        return Simd::round(scaled_exp(divisor == 1.0f ? distance : Simd::div(distance, Simd::set(divisor)), units));
    };
    int i = 0;
    for (; i + kLanes <= size; i += kLanes) Simd::store(out + i, weights_of(logits + i));
    if (i == size) return;
    float lanes[kLanes];
    std::fill(std::copy(logits + i, logits + size, lanes), lanes + kLanes, highest);
    Simd::store(lanes, weights_of(lanes));
    std::copy(lanes, lanes + (size - i), out + i);
}

bool has_nan(const float* x, int size) {
    const F one = Simd::set(1.0f);
    F least = one;  // 0 once a number was not at least itself
    int i = 0;
    for (; i + kLanes <= size; i += kLanes) {
        const F values = Simd::load(x + i);
        least = Simd::min(least, Simd::keep_from(values, values, one));
    }
    return Simd::max_lanes(Simd::sub(one, least)) > 0.0f ||
           std::any_of(x + i, x + size, [](float value) { return value != value; });
}

double sum_from(const float* keys, float bound, const float* weights, int size) {
    const F lowest = Simd::set(bound);
    Simd::Sums sums = {};
    int i = 0;
    for (; i + kLanes <= size; i += kLanes) {
        sums = Simd::add(sums, Simd::keep_from(Simd::load(keys + i), lowest, Simd::load(weights + i)));
    }
    double total = Simd::sum_lanes(sums);
    for (; i < size; ++i) total += static_cast<double>(keys[i] >= bound ? weights[i] : 0.0f);
    return total;
}

void maxima(const float* keys, int num_blocks, int block_size, float* out) {
    for (int block = 0; block < num_blocks; ++block, keys += block_size) {
        F largest = Simd::load(keys);
        for (int i = kLanes; i < block_size; i += kLanes) largest = Simd::max(largest, Simd::load(keys + i));
        out[block] = Simd::max_lanes(largest);
    }
}

int collect(const float* keys, int first, int last, float low, float high, int32_t* out) {
    const F lowest = Simd::set(low), highest = Simd::set(high);
    int count = 0;
    for (; first + kLanes <= last; first += kLanes) {
        count += Simd::store_positions(out + count, first, Simd::load(keys + first), lowest, highest);
    }
    for (; first < last; ++first) {
        out[count] = first;
        count += static_cast<int>(keys[first] >= low) & static_cast<int>(keys[first] <= high);
    }
    return count;
}

}  // namespace
}  // namespace nextword

#endif
