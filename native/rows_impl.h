// Passes over rows of activations: their int8 form, norms, the soft cap.

#ifndef NEXTWORD_ROWS_IMPL_H
#define NEXTWORD_ROWS_IMPL_H

#include <algorithm>
#include <cstddef>

#include "math_impl.h"

namespace nextword {
namespace {

// Groups whose largest number is below this are zero: the factor for their integers, of up to 16 bits, would be
// infinite.
constexpr float kLeastLargest = 1e-34f;

// One group of numbers of a token, in two vectors.
struct GroupValues {
    F low, high;
};

GroupValues load_group(const float* row, int group, int columns) {
    const float* values = row + group * kGroup;
    if ((group + 1) * kGroup <= columns) return {Simd::load(values), Simd::load(values + kLanes)};
    float padded[kGroup] = {};
    for (int i = 0; group * kGroup + i < columns; ++i) padded[i] = values[i];
    return {Simd::load(padded), Simd::load(padded + kLanes)};
}

constexpr float kWordSteps = 127 * 256;

// Numbers of 16 bits in two parts. Vectors that do not multiply words have the high 8 bits, rounded, and the rest: both
// are signed. `V` is Simd: a parameter, because not all vectors have `store_words`.
template <class V>
void split_words(int8_t* first, int8_t* second, typename V::I words) {
    if constexpr (V::kMultipliesWords) {
        V::store_words(first, second, words);
    } else {
        const I raised = V::add(words, V::set(128 * 256 + 128)), offset = V::set(-128);
        V::store_int8(first, V::add(V::template shift_right<8>(raised), offset));
        V::store_int8(second, V::add(V::template low_bits<8>(raised), offset));
    }
}

// The largest magnitude of a group; NaN if one of its numbers is infinite or NaN, which maxima would pass over.
float largest_magnitude(F low, F high) {
    const F zero = Simd::set(0.0f);
    return Simd::max_lanes(Simd::max(Simd::abs(low), Simd::abs(high))) +
           Simd::sum_lanes(Simd::fma(low, zero, Simd::mul(high, zero)));
}

// A group of numbers, rounded to integers up to `steps`.
struct RoundedGroup {
    I low, high;
    float scale;
};

// The scale of a group with infinities or NaN is NaN, and so is what it is multiplied with.
RoundedGroup round_group(const GroupValues& values, float steps) {
    const float largest = largest_magnitude(values.low, values.high);
    if (largest != largest) return {Simd::set(0), Simd::set(0), largest};
    const F inverse = Simd::set(largest >= kLeastLargest ? steps / largest : 0.0f);
    return {Simd::to_int(Simd::mul(values.low, inverse)), Simd::to_int(Simd::mul(values.high, inverse)),
            largest / steps};
}

void put_scale(const RoundedGroup& group, int at, const QuantizedRows& out) {
    const int32_t first_sum = Simd::sum_lanes(group.low), sum = first_sum + Simd::sum_lanes(group.high);
    out.scales[at] = group.scale;
    out.sums[at] = sum;
    out.totals[at] = group.scale * static_cast<float>(sum);
    out.first_sums[at] = first_sum;
}

// Call work(row, group, t, tokens) for all groups of the tokens of a tile.
template <int tile_tokens, class Work>
void for_groups(const Activations& x, int tile, Work work) {
    const int first = tile * tile_tokens, tokens = std::min(x.num_tokens - first, tile_tokens);
    for (int t = 0; t < tokens; ++t) {
        const float* row = x.rows + static_cast<size_t>(first + t) * x.row_stride;
        for (int group = 0; group < ceil_div(x.columns, kGroup); ++group) work(row, group, t, tokens);
    }
}

// From the first group of a tile on.
template <int tile_tokens>
QuantizedRows rows_from(const QuantizedRows& rows, const Activations& x, int tile) {
    const size_t at = static_cast<size_t>(tile) * tile_tokens * ceil_div(x.columns, kGroup);
    return {rows.quants + at * kGroup, rows.scales + at, rows.sums + at, rows.totals + at, rows.first_sums + at};
}

template <int tile_tokens>
void quantize(const Activations& x, int tile, const QuantizedRows& rows) {
    const QuantizedRows out = rows_from<tile_tokens>(rows, x, tile);
    for_groups<tile_tokens>(x, tile, [&](const float* row, int group, int t, int tokens) {
        const RoundedGroup rounded = round_group(load_group(row, group, x.columns), 127.0f);
        const int at = group * tokens + t;
        Simd::store_int8(out.quants + at * kGroup, rounded.low);
        Simd::store_int8(out.quants + at * kGroup + kLanes, rounded.high);
        put_scale(rounded, at, out);
    });
}

template <int tile_rows>
void quantize_words(const Activations& x, int tile, const QuantizedRows& rows, int8_t* second_quants) {
    const QuantizedRows out = rows_from<tile_rows>(rows, x, tile);
    int8_t* second = second_quants + (out.quants - rows.quants);
    for_groups<tile_rows>(x, tile, [&](const float* row, int group, int t, int tokens) {
        const RoundedGroup rounded = round_group(load_group(row, group, x.columns), kWordSteps);
        const int at = group * tokens + t, low = at * kGroup, high = low + kLanes;
        split_words<Simd>(out.quants + low, second + low, rounded.low);
        split_words<Simd>(out.quants + high, second + high, rounded.high);
        put_scale(rounded, at, out);
    });
}

// The sum over a row of some function of its vectors; the numbers after the last whole vector count as one more.
template <class Op>
float sum_over(const float* x, int size, Op op) {
    F total = Simd::set(0.0f);
    int i = 0;
    for (; i + kLanes <= size; i += kLanes) total = op(Simd::load(x + i), total);
    float sum = Simd::sum_lanes(total), rest[kLanes] = {};
    for (int j = i; j < size; ++j) rest[j - i] = x[j];
    Simd::store(rest, op(Simd::load(rest), Simd::set(0.0f)));
    for (int j = i; j < size; ++j) sum += rest[j - i];
    return sum;
}

void rms_norm(const float* x, const float* weight, float eps, int size, float* out) {
    const float squares = sum_over(x, size, [](F value, F total) { return Simd::fma(value, value, total); });
    const float factor = 1.0f / __builtin_sqrtf(squares / static_cast<float>(size) + eps);
    for (int i = 0; i < size; ++i) out[i] = x[i] * factor * weight[i];
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int size, float* out) {
    const float mean =
        sum_over(x, size, [](F value, F total) { return Simd::add(value, total); }) / static_cast<float>(size);
    const float squares = sum_over(x, size, [mean](F value, F total) {
        const F distance = Simd::sub(value, Simd::set(mean));
        return Simd::fma(distance, distance, total);
    });
    const float factor = 1.0f / __builtin_sqrtf(squares / static_cast<float>(size) + eps);
    for (int i = 0; i < size; ++i) out[i] = (x[i] - mean) * factor * weight[i] + bias[i];
}

// Work on the numbers of `x` in place, a vector at a time; the last one is padded with zeros.
template <class Work>
void for_vectors(float* x, int size, Work work) {
    for (int i = 0; i < size; i += kLanes) {
        float lanes[kLanes] = {};
        const int count = size - i < kLanes ? size - i : kLanes;
        for (int j = 0; j < count; ++j) lanes[j] = x[i + j];
        Simd::store(lanes, work(Simd::load(lanes)));
        for (int j = 0; j < count; ++j) x[i + j] = lanes[j];
    }
}

void softmax(const float* x, int size, float* out) {
    float highest = x[0];
    for (int i = 0; i < size; ++i) highest = std::max(highest, x[i]);
    for (int i = 0; i < size; ++i) out[i] = x[i] - highest;
    for_vectors(out, size, [](F value) { return exp(value); });
    const float sum = sum_over(out, size, [](F value, F total) { return Simd::add(value, total); });
    for (int i = 0; i < size; ++i) out[i] /= sum;
}

void soft_cap(float* x, int size, float cap) {
    for_vectors(x, size, [cap](F value) { return Simd::mul(tanh(Simd::div(value, Simd::set(cap))), Simd::set(cap)); });
}

}  // namespace
}  // namespace nextword

#endif
