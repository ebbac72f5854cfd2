// Passes over rows of activations: their int8 form, norms, the soft cap.

#ifndef NEXTWORD_ROWS_IMPL_H
#define NEXTWORD_ROWS_IMPL_H

#include <algorithm>
#include <cstddef>

#include "math_impl.h"

namespace nextword {
namespace {

// Groups whose largest number is below this are zero: the factor for their integers, of up to 14 bits, would be
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

// Write the int8 form of group number `at` of token t of a tile; returns the residuals.
GroupValues quantize_group(const GroupValues& values, int at, int t, int tokens, const QuantizedRows& out) {
    const float largest = Simd::max_lanes(Simd::max(Simd::abs(values.low), Simd::abs(values.high)));
    const F inverse = Simd::set(largest >= kLeastLargest ? 127.0f / largest : 0.0f);
    const I low = Simd::to_int(Simd::mul(values.low, inverse)), high = Simd::to_int(Simd::mul(values.high, inverse));
    int8_t rounded[kGroup];
    Simd::store_int8(rounded, low);
    Simd::store_int8(rounded + kLanes, high);
    __builtin_memcpy(out.quants + (at * tokens + t) * kGroup, rounded, kGroup);
    const float scale = largest / 127.0f;
    const int32_t first_sum = Simd::sum_lanes(low), sum = first_sum + Simd::sum_lanes(high);
    out.scales[at * tokens + t] = scale;
    out.sums[at * tokens + t] = sum;
    out.totals[at * tokens + t] = scale * static_cast<float>(sum);
    out.first_sums[at * tokens + t] = first_sum;
    return {Simd::sub(values.low, Simd::mul(Simd::set(scale), Simd::to_float(low))),
            Simd::sub(values.high, Simd::mul(Simd::set(scale), Simd::to_float(high)))};
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
        quantize_group(load_group(row, group, x.columns), group, t, tokens, out);
    });
}

void quantize_halves(const Activations& x, int tile, const QuantizedRows& rows, const QuantizedRows& residual) {
    const QuantizedRows out = rows_from<Simd::kTokens>(rows, x, tile);
    const QuantizedRows rest = rows_from<Simd::kTokens>(residual, x, tile);
    for_groups<Simd::kTokens>(x, tile, [&](const float* row, int group, int t, int tokens) {
        const GroupValues left = quantize_group(load_group(row, group, x.columns), group, t, tokens, out);
        quantize_group(left, group, t, tokens, rest);
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
