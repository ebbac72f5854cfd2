// Rounding of weights to 8 or 4 bits: one group of columns of 16 rows at once, a row in each lane.

#ifndef NEXTWORD_QUANTIZE_IMPL_H
#define NEXTWORD_QUANTIZE_IMPL_H

#include <cstring>

#include "math_impl.h"

namespace nextword {
namespace {

// The numbers of a group, column by column.
using Columns = const float (*)[kLanes];

// 1 / x, and 0 for what is next to nothing or not positive.
F inverse(F x) { return Simd::keep_from(x, Simd::set(1e-30f), Simd::div(Simd::set(1.0f), x)); }

// `chosen` where x >= bound, else `other`; both finite.
F choose_from(F x, F bound, F chosen, F other) {
    return Simd::add(Simd::keep_from(x, bound, chosen), Simd::sub(other, Simd::keep_from(x, bound, other)));
}

// The nearest whole number from `lowest` to `highest`, which are small; NaN becomes the lowest.
F nearest(F x, float lowest, float highest) {
    const F large = Simd::set(12582912.0f);  // 1.5 x 2^23, beside which numbers have no fraction
    const F inside = Simd::min(Simd::max(x, Simd::set(lowest)), Simd::set(highest));
    return Simd::sub(Simd::add(inside, large), large);
}

// Number of the step of 4 bits that is nearest to (value - minimum) / scale; `shift` is -minimum / scale. Here and
// below without `fma`, for which processors without such an instruction take a hundred times as long.
F nearest_step(F value, F inverse_scale, F shift) {
    return nearest(Simd::add(Simd::mul(value, inverse_scale), shift), 0.0f, 15.0f);
}

// Store 16 numbers as fp16, and return them so rounded.
F store_fp16(uint8_t* to, F a) {
    float lanes[kLanes];
    uint16_t halves[kLanes];
    Simd::store(lanes, a);
    for (int lane = 0; lane < kLanes; ++lane) halves[lane] = Simd::to_fp16(lanes[lane]);
    std::memcpy(to, halves, sizeof halves);
    return Simd::load_fp16(halves);
}

// The largest magnitude becomes 127.
void quantize_to_q8(Columns values, int first_row, uint8_t* unit) {
    F largest = Simd::set(0.0f);
    for (int column = 0; column < kGroup; ++column) {
        largest = Simd::max(Simd::abs(Simd::load(values[column])), largest);
    }
    const F inverse_scale = inverse(store_fp16(unit + first_row * 2, Simd::div(largest, Simd::set(127.0f))));
    uint8_t* quads = unit + kPanelRows * 2 + first_row * 4;
    for (int column = 0; column < kGroup; ++column) {
        const F value = Simd::load(values[column]);
        int8_t bytes[kLanes];
        Simd::store_int8(bytes, Simd::to_int(nearest(Simd::mul(value, inverse_scale), -127.0f, 127.0f)));
        uint8_t* to = quads + column / 4 * kPanelRows * 4 + column % 4;
        for (int row = 0; row < kLanes; ++row) to[row * 4] = static_cast<uint8_t>(bytes[row] ^ 0x80);
    }
}

// A scale and a minimum for 4 bits, and what they leave less of the sum of squares than nothing would: the best so far.
struct NibbleFit {
    F scale, minimum, gain;
};

// Round numbers, whose mean is 0, in steps of `scale` from `minimum` on; keep the scale and the minimum that suit these
// integers best, in the sense of least squares, if they are better than `best`.
void improve(const F (&values)[kGroup], F scale, F minimum, NibbleFit& best) {
    const F inverse_scale = inverse(scale);
    const F shift = Simd::sub(Simd::set(0.0f), Simd::mul(minimum, inverse_scale));
    F sum = Simd::set(0.0f), squares = sum, products = sum;
    for (const F value : values) {
        const F step = nearest_step(value, inverse_scale, shift);
        sum = Simd::add(sum, step);
        squares = Simd::add(Simd::mul(step, step), squares);
        products = Simd::add(Simd::mul(step, value), products);
    }
    const F mean = Simd::mul(sum, Simd::set(1.0f / kGroup));
    const F spread = Simd::sub(squares, Simd::mul(sum, mean));  // 0, or at least 31/32
    const F fitted = Simd::keep_from(spread, Simd::set(0.5f), Simd::div(products, spread));
    const F gain = Simd::mul(fitted, products);
    best.scale = choose_from(gain, best.gain, fitted, best.scale);
    best.minimum = choose_from(gain, best.gain, Simd::mul(fitted, Simd::sub(Simd::set(0.0f), mean)), best.minimum);
    best.gain = Simd::max(gain, best.gain);
}

// The best fit of some ranges between the lowest and the highest number, drawn in by up to 6/64 on each side; its
// integers are then found once more.
NibbleFit fit_nibbles(const F (&values)[kGroup]) {
    F low = values[0], high = values[0];
    for (const F value : values) low = Simd::min(low, value), high = Simd::max(high, value);
    const F range = Simd::sub(high, low);
    NibbleFit best = {Simd::set(0.0f), Simd::set(0.0f), Simd::set(0.0f)};
    for (int below = 0; below <= 6; below += 2) {
        const F minimum = Simd::add(Simd::mul(range, Simd::set(static_cast<float>(below) / 64.0f)), low);
        for (int above = 0; above <= 6; above += 2) {
            const float share = static_cast<float>(64 - below - above) / (64.0f * 15.0f);
            improve(values, Simd::mul(range, Simd::set(share)), minimum, best);
        }
    }
    improve(values, best.scale, best.minimum, best);
    return best;
}

void quantize_to_q4_min(Columns values, int first_row, uint8_t* unit) {
    F sum = Simd::set(0.0f), centred[kGroup];
    for (int column = 0; column < kGroup; ++column) sum = Simd::add(sum, Simd::load(values[column]));
    const F mean = Simd::mul(sum, Simd::set(1.0f / kGroup));
    for (int column = 0; column < kGroup; ++column) centred[column] = Simd::sub(Simd::load(values[column]), mean);
    const NibbleFit fit = fit_nibbles(centred);
    const F inverse_scale = inverse(store_fp16(unit + first_row * 2, fit.scale));
    const F minimum = store_fp16(unit + (kPanelRows + first_row) * 2, Simd::add(fit.minimum, mean));
    const F shift = Simd::sub(Simd::set(0.0f), Simd::mul(minimum, inverse_scale));
    int8_t steps[kGroup][kLanes];
    for (int column = 0; column < kGroup; ++column) {
        const F step = nearest_step(Simd::load(values[column]), inverse_scale, shift);
        Simd::store_int8(steps[column], Simd::to_int(step));
    }
    uint8_t* quads = unit + kPanelRows * 4 + first_row * 4;
    for (int column = 0; column < kGroup / 2; ++column) {
        uint8_t* to = quads + column / 4 * kPanelRows * 4 + column % 4;
        for (int row = 0; row < kLanes; ++row) {
            to[row * 4] = static_cast<uint8_t>(steps[column][row] | steps[column + kGroup / 2][row] << 4);
        }
    }
}

void quantize_weights(WeightKind kind, Columns values, int first_row, uint8_t* unit) {
    return (kind == WeightKind::Q8 ? quantize_to_q8 : quantize_to_q4_min)(values, first_row, unit);
}

}  // namespace
}  // namespace nextword

#endif
