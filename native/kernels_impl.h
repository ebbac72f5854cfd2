// The kernels, written once over the vectors of `Simd`, which the file that includes this has chosen.

#ifndef NEXTWORD_KERNELS_IMPL_H
#define NEXTWORD_KERNELS_IMPL_H

#include <algorithm>
#include <cstddef>
#include <initializer_list>

#include "kernels.h"

namespace nextword {
namespace {

using F = Simd::F;
using I = Simd::I;

constexpr float kInfinity = __builtin_huge_valf();

float sum_lanes(F a) {
    float lanes[kLanes];
    Simd::store(lanes, a);
    for (int width = kLanes / 2; width > 0; width /= 2) {
        for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
    }
    return lanes[0];
}

// ---- functions of one number ----

// e^x to the last bit or two, 0 below -87.
F exp(F x) {
    const F lowest = Simd::set(-87.0f);
    const F clipped = Simd::min(Simd::max(x, lowest), Simd::set(88.0f));
    const F n = Simd::round(Simd::mul(clipped, Simd::set(1.44269504f)));
    F r = Simd::fma(n, Simd::set(-0.693359375f), clipped);  // ln 2 in two parts, the first exact in few bits
    r = Simd::fma(n, Simd::set(2.12194440e-4f), r);
    F p = Simd::set(1.0f / 720);
    for (const float coefficient : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) {
        p = Simd::fma(p, r, Simd::set(coefficient));
    }
    return Simd::keep_from(x, lowest, Simd::mul(p, Simd::pow2(n)));
}

// 1 - 2 / (e^2|x| + 1), with the sign of x.
F tanh(F x) {
    const F one = Simd::set(1.0f);
    const F e = exp(Simd::min(Simd::mul(Simd::abs(x), Simd::set(2.0f)), Simd::set(40.0f)));
    const F magnitude = Simd::sub(one, Simd::div(Simd::set(2.0f), Simd::add(e, one)));
    return Simd::copysign(magnitude, x);
}

// Abramowitz and Stegun 7.1.26: within 1.5e-7.
F erf(F x) {
    const F one = Simd::set(1.0f), magnitude = Simd::abs(x);
    const F t = Simd::div(one, Simd::fma(magnitude, Simd::set(0.3275911f), one));
    F p = Simd::set(1.061405429f);
    for (const float coefficient : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) {
        p = Simd::fma(p, t, Simd::set(coefficient));
    }
    const F tail = Simd::mul(Simd::mul(p, t), exp(Simd::sub(Simd::set(0.0f), Simd::mul(magnitude, magnitude))));
    return Simd::copysign(Simd::sub(one, tail), x);
}

F activate(F x, Activation activation) {
    const F half_x = Simd::mul(x, Simd::set(0.5f)), one = Simd::set(1.0f), zero = Simd::set(0.0f);
    switch (activation) {
        case Activation::None: return x;
        case Activation::Silu: return Simd::div(x, Simd::add(one, exp(Simd::sub(zero, x))));
        case Activation::Gelu: return Simd::mul(half_x, Simd::add(one, erf(Simd::mul(x, Simd::set(0.70710678f)))));
        case Activation::GeluTanh: {
            const F cubic = Simd::mul(Simd::mul(x, x), Simd::mul(x, Simd::set(0.044715f)));
            return Simd::mul(half_x, Simd::add(one, tanh(Simd::mul(Simd::add(x, cubic), Simd::set(0.79788456f)))));
        }
        case Activation::Relu: return Simd::max(x, zero);
    }
    return x;
}

// Call work<count>(at) for blocks of N from `first` up to `last`, and for what is left.
template <int N, class Work>
void last_block(int first, int last, Work& work) {
    if (last - first == N) {
        work.template operator()<N>(first);
    } else if constexpr (N > 1) {
        last_block<N - 1>(first, last, work);
    }
}

template <int N, class Work>
void in_blocks(int first, int last, Work&& work) {
    for (; first + N <= last; first += N) work.template operator()<N>(first);
    last_block<N - 1>(first, last, work);
}

// ---- matrices ----

// A stream of weights from DRAM comes at twice the speed when it is asked for this many bytes ahead; what the processor
// fetches by itself is enough only while the weights stay in the caches.
constexpr int kBytesAhead = 8192;
// With more tokens the arithmetic hides the memory.
constexpr int kFewTokens = 4;

[[gnu::always_inline]] inline void fetch_ahead(const uint8_t* weights, int bytes) {
    for (int line = 0; line < bytes; line += 64) __builtin_prefetch(weights + kBytesAhead + line);
}

template <int T>
[[gnu::always_inline]] inline void multiply_floats(const uint8_t* panel, WeightKind kind, const Activations& x,
                                                   int token, F (&sum)[T][2]) {
    const float* row[T];
    for (int t = 0; t < T; ++t) row[t] = x.rows + static_cast<size_t>(token + t) * x.row_stride;
    const int column_bytes = kPanelRows * (kind == WeightKind::F32 ? 4 : 2);
    for (int column = 0; column < x.columns; ++column) {
        if constexpr (T <= kFewTokens) fetch_ahead(panel + column * column_bytes, column_bytes);
        F w0, w1;
        if (kind == WeightKind::F32) {
            const float* w = reinterpret_cast<const float*>(panel) + column * kPanelRows;
            w0 = Simd::load(w), w1 = Simd::load(w + kLanes);
        } else {
            const uint16_t* w = reinterpret_cast<const uint16_t*>(panel) + column * kPanelRows;
            w0 = Simd::load_bf16(w), w1 = Simd::load_bf16(w + kLanes);
        }
        for (int t = 0; t < T; ++t) {
            const F value = Simd::set(row[t][column]);
            sum[t][0] = Simd::fma(w0, value, sum[t][0]);
            sum[t][1] = Simd::fma(w1, value, sum[t][1]);
        }
    }
}

// The integer products of one group of columns in 8 quads of bytes; `dot_quad` is the product that suits the bytes.
template <int T, class DotQuad>
[[gnu::always_inline]] inline void dot_quads(const uint8_t* w, const int8_t* x, I (&dot)[T][2], DotQuad dot_quad) {
    for (int quad = 0; quad < 8; ++quad) {
        const Simd::Bytes w0 = Simd::load_bytes(w + quad * 128), w1 = Simd::load_bytes(w + quad * 128 + 64);
        for (int t = 0; t < T; ++t) {
            const Simd::Quad value = Simd::load_quad(x + (quad * T + t) * 4);
            dot[t][0] = dot_quad(dot[t][0], w0, value);
            dot[t][1] = dot_quad(dot[t][1], w1, value);
        }
    }
}

// The same as a panel holds the group: the 8 quads, or 4 pairs of quads in nibbles.
template <WeightKind kind, int T>
[[gnu::always_inline]] inline void dot_group(const uint8_t* w, const int8_t* x, I (&dot)[T][2]) {
    if constexpr (kind == WeightKind::Q8) {
        dot_quads<T>(w, x, dot, Simd::dot_bytes);
    } else {
        for (int quad = 0; quad < 4; ++quad) {
            const Simd::Bytes w0 = Simd::load_bytes(w + quad * 128), w1 = Simd::load_bytes(w + quad * 128 + 64);
            const Simd::Bytes low0 = Simd::low_nibbles(w0), low1 = Simd::low_nibbles(w1);
            const Simd::Bytes high0 = Simd::high_nibbles(w0), high1 = Simd::high_nibbles(w1);
            for (int t = 0; t < T; ++t) {
                const Simd::Quad low = Simd::load_quad(x + (quad * T + t) * 4);
                const Simd::Quad high = Simd::load_quad(x + ((quad + 4) * T + t) * 4);
                dot[t][0] = Simd::dot_nibbles(Simd::dot_nibbles(dot[t][0], low0, low), high0, high);
                dot[t][1] = Simd::dot_nibbles(Simd::dot_nibbles(dot[t][1], low1, low), high1, high);
            }
        }
    }
}

constexpr int header_bytes(WeightKind kind) { return kPanelRows * (kind == WeightKind::Q4Min ? 4 : 2); }

// Some groups of a panel, from `panel` on, times groups of T tokens, whose first is number `at`.
// `dot_of(group, panel, quants, dot)` adds the integer products of a group, and may ask for memory that is wanted
// later.
template <WeightKind kind, int T, class Dot>
[[gnu::always_inline]] inline void multiply_groups(const uint8_t* panel, int num_groups, const Activations& x,
                                                   size_t at, F (&sum)[T][2], Dot dot_of) {
    const int8_t* quants = x.quants + at * kGroup;
    const float *scales = x.scales + at, *totals = x.totals + at;
    const int32_t* sums = x.sums + at;
    for (int group = 0; group < num_groups; ++group) {
        I dot[T][2];
        for (int t = 0; t < T; ++t) {
            const int32_t total = sums[t];
            const int32_t start = kind == WeightKind::Q8   ? Simd::start_q8(total)
                                  : kind == WeightKind::Q4 ? -8 * total
                                                           : 0;
            dot[t][0] = dot[t][1] = Simd::set(start);
        }
        dot_of(group, panel, quants, dot);
        const uint16_t* halves = reinterpret_cast<const uint16_t*>(panel);
        const F scale0 = Simd::load_fp16(halves), scale1 = Simd::load_fp16(halves + kLanes);
        for (int t = 0; t < T; ++t) {
            const F scale = Simd::set(scales[t]);
            sum[t][0] = Simd::fma(Simd::to_float(dot[t][0]), Simd::mul(scale0, scale), sum[t][0]);
            sum[t][1] = Simd::fma(Simd::to_float(dot[t][1]), Simd::mul(scale1, scale), sum[t][1]);
        }
        if constexpr (kind == WeightKind::Q4Min) {
            const F min0 = Simd::load_fp16(halves + 2 * kLanes), min1 = Simd::load_fp16(halves + 3 * kLanes);
            for (int t = 0; t < T; ++t) {
                const F total = Simd::set(totals[t]);
                sum[t][0] = Simd::fma(min0, total, sum[t][0]);
                sum[t][1] = Simd::fma(min1, total, sum[t][1]);
            }
        }
        panel += unit_bytes(kind);
        quants += kGroup * T;
        scales += T;
        sums += T;
        totals += T;
    }
}

// A whole panel times T tokens. `fetch(group, panel)` asks for memory that is wanted later than this group.
template <WeightKind kind, int T, class Fetch>
[[gnu::always_inline]] inline void multiply_panel(const uint8_t* panel, const Activations& x, int token, F (&sum)[T][2],
                                                  Fetch fetch) {
    const int num_groups = ceil_div(x.columns, kGroup);
    const size_t at = static_cast<size_t>(token) * num_groups;
    multiply_groups<kind, T>(panel, num_groups, x, at, sum,
                             [&](int group, const uint8_t* weights, const int8_t* quants, I(&dot)[T][2]) {
                                 fetch(group, weights);
                                 dot_group<kind, T>(weights + header_bytes(kind), quants, dot);
                             });
}

// Store or add 16 numbers of a row, or as many as it has.
void put(float* row, int at, int width, F value, bool add) {
    if (at + kLanes <= width) {
        Simd::store(row + at, add ? Simd::add(Simd::load(row + at), value) : value);
        return;
    }
    float lanes[kLanes];
    Simd::store(lanes, value);
    for (int i = 0; at + i < width; ++i) row[at + i] = add ? row[at + i] + lanes[i] : lanes[i];
}

template <int T>
void finish(const Output& out, int panel, int token, const F (&sum)[T][2]) {
    for (int t = 0; t < T; ++t) {
        float* row = out.rows + static_cast<size_t>(token + t) * out.row_stride;
        F first = sum[t][0], second = sum[t][1];
        if (out.bias != nullptr) {
            first = Simd::add(first, Simd::load(out.bias + panel * kPanelRows));
            second = Simd::add(second, Simd::load(out.bias + panel * kPanelRows + kLanes));
        }
        if (out.epilogue == Epilogue::Gate) {
            put(row, panel * kLanes, out.width, Simd::mul(activate(first, out.activation), second), false);
        } else {
            const bool add = out.epilogue == Epilogue::Add;
            put(row, panel * kPanelRows, out.width, activate(first, out.activation), add);
            put(row, panel * kPanelRows + kLanes, out.width, activate(second, out.activation), add);
        }
    }
}

template <WeightKind kind, int T>
void multiply_tile(const uint8_t* panel, int index, const Activations& x, int token, const Output& out) {
    F sum[T][2];
    for (int t = 0; t < T; ++t) sum[t][0] = sum[t][1] = Simd::set(0.0f);
    if constexpr (is_quantized(kind)) {
        multiply_panel<kind, T>(panel, x, token, sum, [](int, const uint8_t* at) {
            if constexpr (T <= kFewTokens) fetch_ahead(at, unit_bytes(kind));
        });
    } else {
        multiply_floats<T>(panel, kind, x, token, sum);
    }
    finish<T>(out, index, token, sum);
}

template <WeightKind kind>
struct MultiplyTile {
    const uint8_t* panel;
    int index;
    const Activations& x;
    const Output& out;
    template <int T>
    void operator()(int token) {
        multiply_tile<kind, T>(panel, index, x, token, out);
    }
};

// Nibbles of some groups of a panel as bytes, and the sums so far of some tokens: together they stay in the first
// cache.
constexpr int kUnpackedGroups = 24, kUnpackedTokens = 64;

template <WeightKind kind>
struct MultiplyUnpacked {
    alignas(64) uint8_t nibbles[kUnpackedGroups][kGroup * kPanelRows];
    alignas(64) float sums[kUnpackedTokens][kPanelRows];
    const Activations& x;
    const Output& out;
    const uint8_t* panel;
    int index, first_group, num_groups, first_token;

    MultiplyUnpacked(const Activations& activations, const Output& output) : x(activations), out(output) {}

    void unpack() {
        for (int group = 0; group < num_groups; ++group) {
            const uint8_t* w = panel + (first_group + group) * unit_bytes(kind) + header_bytes(kind);
            for (int at = 0; at < kGroup * kPanelRows / 2; at += 64) {
                const Simd::Bytes both = Simd::load_bytes(w + at);
                Simd::store_bytes(nibbles[group] + at, Simd::low_nibbles(both));
                Simd::store_bytes(nibbles[group] + kGroup * kPanelRows / 2 + at, Simd::high_nibbles(both));
            }
        }
    }

    template <int T>
    void operator()(int token) {
        const int all_groups = ceil_div(x.columns, kGroup);
        const size_t at = static_cast<size_t>(token) * all_groups + static_cast<size_t>(first_group) * T;
        float (*so_far)[kPanelRows] = sums + (token - first_token);
        F sum[T][2];
        for (int t = 0; t < T; ++t) {
            sum[t][0] = first_group == 0 ? Simd::set(0.0f) : Simd::load(so_far[t]);
            sum[t][1] = first_group == 0 ? Simd::set(0.0f) : Simd::load(so_far[t] + kLanes);
        }
        multiply_groups<kind, T>(panel + first_group * unit_bytes(kind), num_groups, x, at, sum,
                                 [&](int group, const uint8_t*, const int8_t* quants, I(&dot)[T][2]) {
                                     dot_quads<T>(nibbles[group], quants, dot, Simd::dot_nibbles);
                                 });
        if (first_group + num_groups == all_groups) return finish<T>(out, index, token, sum);
        for (int t = 0; t < T; ++t) {
            Simd::store(so_far[t], sum[t][0]);
            Simd::store(so_far[t] + kLanes, sum[t][1]);
        }
    }
};

template <WeightKind kind>
void multiply_kind(const Matrix& matrix, int first_panel, int last_panel, const Activations& x, const Output& out) {
    for (int index = first_panel; index < last_panel; ++index) {
        in_blocks<Simd::kTokens>(0, x.num_tokens, MultiplyTile<kind>{matrix.panel(index), index, x, out});
    }
}

// The same for many tokens of 4-bit weights: nibbles are taken apart once for some tiles.
template <WeightKind kind>
void multiply_unpacked(const Matrix& matrix, int first_panel, int last_panel, const Activations& x, const Output& out) {
    MultiplyUnpacked<kind> tile(x, out);
    const int all_groups = ceil_div(x.columns, kGroup);
    for (tile.index = first_panel; tile.index < last_panel; ++tile.index) {
        tile.panel = matrix.panel(tile.index);
        for (tile.first_token = 0; tile.first_token < x.num_tokens; tile.first_token += kUnpackedTokens) {
            const int end = std::min(x.num_tokens, tile.first_token + kUnpackedTokens);
            for (tile.first_group = 0; tile.first_group < all_groups; tile.first_group += kUnpackedGroups) {
                tile.num_groups = std::min(kUnpackedGroups, all_groups - tile.first_group);
                tile.unpack();
                in_blocks<Simd::kTokens>(tile.first_token, end, tile);
            }
        }
    }
}

template <WeightKind kind>
void multiply_nibbles(const Matrix& matrix, int first_panel, int last_panel, const Activations& x, const Output& out) {
    const bool is_many = x.num_tokens >= 2 * Simd::kTokens;
    return (is_many ? multiply_unpacked<kind> : multiply_kind<kind>)(matrix, first_panel, last_panel, x, out);
}

void multiply(const Matrix& matrix, int first_panel, int last_panel, const Activations& x, const Output& out) {
    switch (matrix.kind) {
        case WeightKind::F32: return multiply_kind<WeightKind::F32>(matrix, first_panel, last_panel, x, out);
        case WeightKind::BF16: return multiply_kind<WeightKind::BF16>(matrix, first_panel, last_panel, x, out);
        case WeightKind::Q8: return multiply_kind<WeightKind::Q8>(matrix, first_panel, last_panel, x, out);
        case WeightKind::Q4: return multiply_nibbles<WeightKind::Q4>(matrix, first_panel, last_panel, x, out);
        case WeightKind::Q4Min: return multiply_nibbles<WeightKind::Q4Min>(matrix, first_panel, last_panel, x, out);
    }
}

// ---- activations ----

// Groups whose largest number is below this are zero: the factor for their int8 form would be infinite.
constexpr float kLeastLargest = 1e-36f;

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

// Write the int8 form of group number `at` of token t of a tile; returns what that leaves of the values.
GroupValues quantize_group(const GroupValues& values, int at, int t, int tokens, const QuantizedRows& out) {
    const float largest = Simd::max_lanes(Simd::max(Simd::abs(values.low), Simd::abs(values.high)));
    const F inverse = Simd::set(largest >= kLeastLargest ? 127.0f / largest : 0.0f);
    const I low = Simd::to_int(Simd::mul(values.low, inverse)), high = Simd::to_int(Simd::mul(values.high, inverse));
    int8_t rounded[kGroup];
    Simd::store_int8(rounded, low);
    Simd::store_int8(rounded + kLanes, high);
    for (int quad = 0; quad < 8; ++quad)
        __builtin_memcpy(out.quants + ((at * 8 + quad) * tokens + t) * 4, rounded + quad * 4, 4);
    const float scale = largest / 127.0f;
    const int32_t sum = Simd::sum_lanes(low, high);
    out.scales[at * tokens + t] = scale;
    out.sums[at * tokens + t] = sum;
    out.totals[at * tokens + t] = scale * static_cast<float>(sum);
    return {Simd::sub(values.low, Simd::mul(Simd::set(scale), Simd::to_float(low))),
            Simd::sub(values.high, Simd::mul(Simd::set(scale), Simd::to_float(high)))};
}

// Call work(row, group, t, tokens) for all groups of the tokens of a tile.
template <class Work>
void for_groups(const Activations& x, int tile, Work work) {
    const int first = tile * Simd::kTokens, tokens = std::min(x.num_tokens - first, Simd::kTokens);
    for (int t = 0; t < tokens; ++t) {
        const float* row = x.rows + static_cast<size_t>(first + t) * x.row_stride;
        for (int group = 0; group < ceil_div(x.columns, kGroup); ++group) work(row, group, t, tokens);
    }
}

// From the first group of a tile on.
QuantizedRows rows_from(const QuantizedRows& rows, const Activations& x, int tile) {
    const size_t at = static_cast<size_t>(tile) * Simd::kTokens * ceil_div(x.columns, kGroup);
    return {rows.quants + at * kGroup, rows.scales + at, rows.sums + at, rows.totals + at};
}

void quantize(const Activations& x, int tile, const QuantizedRows& rows) {
    const QuantizedRows out = rows_from(rows, x, tile);
    for_groups(x, tile, [&](const float* row, int group, int t, int tokens) {
        quantize_group(load_group(row, group, x.columns), group, t, tokens, out);
    });
}

void quantize_halves(const Activations& x, int tile, const QuantizedRows& rows, const QuantizedRows& residual) {
    const QuantizedRows out = rows_from(rows, x, tile), rest = rows_from(residual, x, tile);
    for_groups(x, tile, [&](const float* row, int group, int t, int tokens) {
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
    float sum = sum_lanes(total), rest[kLanes] = {};
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

void soft_cap(float* x, int size, float cap) {
    for (int i = 0; i < size; i += kLanes) {
        float lanes[kLanes] = {};
        const int count = size - i < kLanes ? size - i : kLanes;
        for (int j = 0; j < count; ++j) lanes[j] = x[i + j];
        Simd::store(lanes, Simd::mul(tanh(Simd::div(Simd::load(lanes), Simd::set(cap))), Simd::set(cap)));
        for (int j = 0; j < count; ++j) x[i + j] = lanes[j];
    }
}

// ---- pages of keys and values ----

// 16 numbers of a row, with zeros for those that it does not have.
F load_padded(const float* row, int at, int size) {
    if (at + kLanes <= size) return Simd::load(row + at);
    float padded[kLanes] = {};
    for (int i = 0; at + i < size; ++i) padded[i] = row[at + i];
    return Simd::load(padded);
}

// Beyond this a scale would be infinite in fp16; such keys keep their direction, and no softmax can tell more.
constexpr float kLargestScale = 65504.0f;

void store_quantized_key(int head_dim, int slot, const float* key, uint8_t* keys) {
    for (int start = 0; start < head_dim; start += kGroup, keys += unit_bytes(WeightKind::Q8)) {
        const F low = load_padded(key, start, head_dim), high = load_padded(key, start + kLanes, head_dim);
        const float largest = Simd::max_lanes(Simd::max(Simd::abs(low), Simd::abs(high)));
        const F inverse = Simd::set(largest >= kLeastLargest ? 127.0f / largest : 0.0f);
        const float scale = largest / 127.0f;
        reinterpret_cast<uint16_t*>(keys)[slot] = Simd::to_fp16(scale < kLargestScale ? scale : kLargestScale);
        int8_t rounded[kGroup];
        Simd::store_int8(rounded, Simd::to_int(Simd::mul(low, inverse)));
        Simd::store_int8(rounded + kLanes, Simd::to_int(Simd::mul(high, inverse)));
        uint8_t* quads = keys + kPanelRows * sizeof(uint16_t) + slot * 4;
        for (int i = 0; i < kGroup; ++i)
            quads[i / 4 * (kPanelRows * 4) + i % 4] = static_cast<uint8_t>(rounded[i] + 128);
    }
}

void store_quantized_value(const PageShape& page, int slot, const float* value, uint8_t* values) {
    F largest_lanes = Simd::set(0.0f);
    for (int d = 0; d < page.head_dim; d += kLanes) {
        largest_lanes = Simd::max(largest_lanes, Simd::abs(load_padded(value, d, page.head_dim)));
    }
    const float largest = Simd::max_lanes(largest_lanes);
    const F inverse = Simd::set(largest >= kLeastLargest ? 127.0f / largest : 0.0f);
    int8_t* quads = reinterpret_cast<int8_t*>(values) + slot / 4 * (page.value_stride() * 4) + slot % 4;
    for (int d = 0; d < page.head_dim; d += kLanes) {
        int8_t rounded[kLanes];
        Simd::store_int8(rounded, Simd::to_int(Simd::mul(load_padded(value, d, page.head_dim), inverse)));
        for (int i = 0; i < kLanes; ++i) quads[(d + i) * 4] = rounded[i];
    }
    reinterpret_cast<float*>(values + page.elements_bytes())[slot] = largest / 127.0f;
}

void store_position(const PageShape& page, int slot, const float* key, const float* value, uint8_t* keys,
                    uint8_t* values) {
    switch (page.kind) {
        case CacheKind::F32: {
            float* row = reinterpret_cast<float*>(values) + slot * page.value_stride();
            for (int d = 0; d < page.head_dim; ++d) reinterpret_cast<float*>(keys)[d * kPagePositions + slot] = key[d];
            for (int d = 0; d < page.head_dim; ++d) row[d] = value[d];
            return;
        }
        case CacheKind::BF16: {
            uint16_t* row = reinterpret_cast<uint16_t*>(values) + slot * page.value_stride();
            for (int d = 0; d < page.head_dim; d += kLanes) {
                uint16_t rounded[kLanes];
                Simd::store_bf16(rounded, load_padded(key, d, page.head_dim));
                for (int i = 0; i < kLanes && d + i < page.head_dim; ++i) {
                    reinterpret_cast<uint16_t*>(keys)[(d + i) * kPagePositions + slot] = rounded[i];
                }
                Simd::store_bf16(row + d, load_padded(value, d, page.head_dim));
            }
            return;
        }
        case CacheKind::Q8:
            store_quantized_key(page.head_dim, slot, key, keys);
            store_quantized_value(page, slot, value, values);
            return;
    }
}

// ---- attention ----

F load_cached(const float* from) { return Simd::load(from); }
F load_cached(const uint16_t* from) { return Simd::load_bf16(from); }

// Asks for the pages that the thread reads next, a few lines at a time: all at once would wait for one another.
class NextPages {
public:
    explicit NextPages(const AttentionSegment& segment)
        : pages_(segment.next_pages),
          num_bytes_(segment.page.bytes()),
          third_(static_cast<int>(num_bytes_ / 64) * kSegmentPages / 3) {}

    // How many lines at a time ask for a third of them in so many calls of `fetch`.
    int lines(int num_calls) const { return third_ / num_calls + 1; }

    [[gnu::always_inline]] void fetch(int num_lines) {
        for (; num_lines > 0 && page_ < kSegmentPages && pages_[page_] != nullptr; --num_lines) {
            __builtin_prefetch(pages_[page_] + at_);
            if ((at_ += 64) >= num_bytes_) at_ = 0, ++page_;
        }
    }

private:
    const uint8_t* const* pages_;
    size_t num_bytes_, at_ = 0;
    int third_, page_ = 0;
};

template <int R>
void put_scores(const AttentionSegment& segment, int page, int row, const F (&score)[R][2]) {
    for (int r = 0; r < R; ++r) {
        float* out = segment.scores + (row + r) * kSegmentPositions + page * kPagePositions;
        Simd::store(out, score[r][0]);
        Simd::store(out + kLanes, score[r][1]);
    }
}

// Scores of R query vectors on the 32 positions of a page.
template <class Element, int R>
void score_page(const AttentionSegment& segment, int page, int row, NextPages& next) {
    const Element* keys = reinterpret_cast<const Element*>(segment.keys[page]);
    const float* queries = segment.queries.rows + static_cast<size_t>(row) * segment.queries.row_stride;
    const int head_dim = segment.page.head_dim, lines = row == 0 ? next.lines(kSegmentPages * head_dim) : 0;
    F score[R][2];
    for (int r = 0; r < R; ++r) score[r][0] = score[r][1] = Simd::set(0.0f);
    for (int d = 0; d < head_dim; ++d) {
        next.fetch(lines);
        const F k0 = load_cached(keys + d * kPagePositions), k1 = load_cached(keys + d * kPagePositions + kLanes);
        for (int r = 0; r < R; ++r) {
            const F q = Simd::set(queries[r * segment.queries.row_stride + d]);
            score[r][0] = Simd::fma(k0, q, score[r][0]);
            score[r][1] = Simd::fma(k1, q, score[r][1]);
        }
    }
    put_scores<R>(segment, page, row, score);
}

// The same by the int8 form of queries and keys; a page of keys is a panel.
template <int R>
void score_quantized_page(const AttentionSegment& segment, int page, int row, NextPages& next) {
    F score[R][2];
    for (int r = 0; r < R; ++r) score[r][0] = score[r][1] = Simd::set(0.0f);
    const int lines = row == 0 ? next.lines(kSegmentPages * ceil_div(segment.page.head_dim, kGroup)) : 0;
    multiply_panel<WeightKind::Q8, R>(segment.keys[page], segment.queries, row, score,
                                      [&](int, const uint8_t*) { next.fetch(lines); });
    multiply_panel<WeightKind::Q8, R>(segment.keys[page], segment.residual, row, score, [](int, const uint8_t*) {});
    put_scores<R>(segment, page, row, score);
}

// The values of the segment, weighted, for R query vectors and V vectors of dimensions.
template <class Element, int R, int V>
void mix_values(const AttentionSegment& segment, int row, int dim, const Mixture& out, NextPages& next) {
    F mixed[R][V];
    for (int r = 0; r < R; ++r) {
        for (int v = 0; v < V; ++v) mixed[r][v] = Simd::set(0.0f);
    }
    const float* weights = segment.scores + row * kSegmentPositions;
    const int stride = segment.page.value_stride(), lines = row == 0 && dim == 0 ? next.lines(kSegmentPositions) : 0;
    for (int start = 0; start < segment.num_positions; start += kPagePositions) {
        const int page = start / kPagePositions;
        const Element* values = reinterpret_cast<const Element*>(segment.values[page]) + dim;
        const int left = segment.num_positions - start;
        const int count = left < kPagePositions ? left : kPagePositions;
        for (int i = 0; i < count; ++i) {
            next.fetch(lines);
            F value[V];
            for (int v = 0; v < V; ++v) value[v] = load_cached(values + i * stride + v * kLanes);
            for (int r = 0; r < R; ++r) {
                const F weight = Simd::set(weights[r * kSegmentPositions + start + i]);
                for (int v = 0; v < V; ++v) mixed[r][v] = Simd::fma(value[v], weight, mixed[r][v]);
            }
        }
    }
    for (int r = 0; r < R; ++r) {
        float* to = out.mixed + static_cast<size_t>(row + r) * stride + dim;
        for (int v = 0; v < V; ++v) Simd::store(to + v * kLanes, mixed[r][v]);
    }
}

// Weights of 14 bits, high and low 7, which stand in the place of a row's scores, and what to multiply them by.
constexpr int kWeightBits = 7;
constexpr float kWeightSteps = 127 * (1 << kWeightBits);

struct QuantizedWeights {
    uint8_t high[kSegmentPositions], low[kSegmentPositions];
    float scale;
};
static_assert(sizeof(QuantizedWeights) <= kSegmentPositions * sizeof(float), "it takes a row's place");

// From the row's weights, the first `padded` of which are set, and the largest of them.
void quantize_weights(float* row, int padded, float largest) {
    QuantizedWeights weights = {};
    const F inverse = Simd::set(largest >= kLeastLargest ? kWeightSteps / largest : 0.0f);
    for (int i = 0; i < padded; i += kLanes) {
        const I steps = Simd::to_int(Simd::mul(Simd::load(row + i), inverse));
        Simd::store_int8(reinterpret_cast<int8_t*>(weights.high + i), Simd::shift_right<kWeightBits>(steps));
        Simd::store_int8(reinterpret_cast<int8_t*>(weights.low + i), Simd::low_bits<kWeightBits>(steps));
    }
    weights.scale = largest / kWeightSteps;
    __builtin_memcpy(row, &weights, sizeof weights);
}

// `mix_values` for values of 8 bits: integer products of four positions at a time, first with the high bits of all
// weights, then with the low ones.
template <int R, int V>
void mix_quantized_values(const AttentionSegment& segment, int row, int dim, const Mixture& out, NextPages& next) {
    const uint8_t* weights = reinterpret_cast<const uint8_t*>(segment.scores + row * kSegmentPositions);
    constexpr int row_bytes = kSegmentPositions * sizeof(float);
    const int stride = segment.page.value_stride(), num_pages = ceil_div(segment.num_positions, kPagePositions);
    I mixed[R][V];
    for (int r = 0; r < R; ++r) {
        for (int v = 0; v < V; ++v) mixed[r][v] = Simd::set(0);
    }
    const auto add_products = [&](const uint8_t* bits, int lines) {
        for (int page = 0; page < num_pages; ++page) {
            for (int quad = 0; quad < kPagePositions / 4; ++quad) {
                next.fetch(lines);
                const uint8_t* values = segment.values[page] + (quad * stride + dim) * 4;
                Simd::Bytes value[V];
                for (int v = 0; v < V; ++v) value[v] = Simd::load_bytes(values + v * 64);
                for (int r = 0; r < R; ++r) {
                    const Simd::Quad weight = Simd::load_quad(
                        reinterpret_cast<const int8_t*>(bits + r * row_bytes + page * kPagePositions + quad * 4));
                    for (int v = 0; v < V; ++v) mixed[r][v] = Simd::dot_weights(mixed[r][v], value[v], weight);
                }
            }
        }
    };
    add_products(weights + offsetof(QuantizedWeights, high),
                 row == 0 && dim == 0 ? next.lines(kSegmentPositions / 4) : 0);
    for (int r = 0; r < R; ++r) {
        for (int v = 0; v < V; ++v) mixed[r][v] = Simd::shift_left<kWeightBits>(mixed[r][v]);
    }
    add_products(weights + offsetof(QuantizedWeights, low), 0);
    for (int r = 0; r < R; ++r) {
        float scale;
        __builtin_memcpy(&scale, weights + r * row_bytes + offsetof(QuantizedWeights, scale), sizeof scale);
        float* to = out.mixed + static_cast<size_t>(row + r) * stride + dim;
        for (int v = 0; v < V; ++v)
            Simd::store(to + v * kLanes, Simd::mul(Simd::to_float(mixed[r][v]), Simd::set(scale)));
    }
}

F load_value_scales(const AttentionSegment& segment, int position) {
    const uint8_t* scales = segment.values[position / kPagePositions] + segment.page.elements_bytes();
    return Simd::load(reinterpret_cast<const float*>(scales) + position % kPagePositions);
}

// Scores to weights: capped, masked, and their exponentials below the largest, which `out` receives with their sum.
// Where values have scales, the weights then take these in, and become integers, too.
void normalize_scores(const AttentionSegment& segment, const Mixture& out, NextPages& next) {
    const int padded = ceil_div(segment.num_positions, kLanes) * kLanes;
    const bool has_scales = segment.page.kind == CacheKind::Q8;
    const int lines = next.lines(segment.queries.num_tokens * (kSegmentPositions / kLanes));
    for (int row = 0; row < segment.queries.num_tokens; ++row) {
        float* scores = segment.scores + row * kSegmentPositions;
        if (segment.soft_cap > 0.0f) soft_cap(scores, padded, segment.soft_cap);
        for (int i = 0; i < segment.first[row]; ++i) scores[i] = -kInfinity;
        for (int i = segment.last[row]; i < padded; ++i) scores[i] = -kInfinity;
        F largest = Simd::set(-kInfinity);
        for (int i = 0; i < padded; i += kLanes) largest = Simd::max(largest, Simd::load(scores + i));
        const float top = Simd::max_lanes(largest);
        const F shift = Simd::set(top == -kInfinity ? 0.0f : top);
        F total = Simd::set(0.0f), largest_scaled = total;
        for (int i = 0; i < padded; i += kLanes) {
            next.fetch(lines);
            const F weight = exp(Simd::sub(Simd::load(scores + i), shift));
            total = Simd::add(total, weight);
            const F scaled = has_scales ? Simd::mul(weight, load_value_scales(segment, i)) : weight;
            largest_scaled = Simd::max(largest_scaled, scaled);
            Simd::store(scores + i, scaled);
        }
        if (has_scales) quantize_weights(scores, padded, Simd::max_lanes(largest_scaled));
        out.max[row] = top;
        out.sum[row] = sum_lanes(total);
    }
}

template <class Element, int R>
void score_rows(const AttentionSegment& segment, int row, NextPages& next) {
    const int num_pages = ceil_div(segment.num_positions, kPagePositions);
    for (int page = 0; page < num_pages; ++page) {
        if constexpr (sizeof(Element) == 1) {
            score_quantized_page<R>(segment, page, row, next);
        } else {
            score_page<Element, R>(segment, page, row, next);
        }
    }
}

template <class Element, int R, int V>
void mix_block(const AttentionSegment& segment, int row, int dim, const Mixture& out, NextPages& next) {
    if constexpr (sizeof(Element) == 1) {
        mix_quantized_values<R, V>(segment, row, dim, out, next);
    } else {
        mix_values<Element, R, V>(segment, row, dim, out, next);
    }
}

template <class Element, int R>
void mix_rows(const AttentionSegment& segment, int row, const Mixture& out, NextPages& next) {
    const int stride = segment.page.value_stride();
    int dim = 0;
    for (; dim + 4 * kLanes <= stride; dim += 4 * kLanes) mix_block<Element, R, 4>(segment, row, dim, out, next);
    for (; dim < stride; dim += kLanes) mix_block<Element, R, 1>(segment, row, dim, out, next);
}

template <class Element>
struct ScoreRows {
    const AttentionSegment& segment;
    NextPages& next;
    template <int R>
    void operator()(int row) {
        score_rows<Element, R>(segment, row, next);
    }
};

template <class Element>
struct MixRows {
    const AttentionSegment& segment;
    const Mixture& out;
    NextPages& next;
    template <int R>
    void operator()(int row) {
        mix_rows<Element, R>(segment, row, out, next);
    }
};

template <class Element, int Rows>
void attend_cached(const AttentionSegment& segment, const Mixture& out) {
    NextPages next(segment);
    in_blocks<Rows>(0, segment.queries.num_tokens, ScoreRows<Element>{segment, next});
    normalize_scores(segment, out, next);
    in_blocks<6>(0, segment.queries.num_tokens, MixRows<Element>{segment, out, next});
}

void attend(const AttentionSegment& segment, const Mixture& out) {
    switch (segment.page.kind) {
        case CacheKind::F32: return attend_cached<float, 8>(segment, out);
        case CacheKind::BF16: return attend_cached<uint16_t, 8>(segment, out);
        case CacheKind::Q8: return attend_cached<int8_t, Simd::kTokens>(segment, out);
    }
}

float exp_one(float x) {
    float lanes[kLanes];
    Simd::store(lanes, exp(Simd::set(x)));
    return lanes[0];
}

void merge(const Mixture& total, const Mixture& next, int num_rows, int value_stride) {
    for (int row = 0; row < num_rows; ++row) {
        if (next.max[row] == -kInfinity) continue;
        const float top = next.max[row] > total.max[row] ? next.max[row] : total.max[row];
        const float old_factor = exp_one(total.max[row] - top), new_factor = exp_one(next.max[row] - top);
        const F old_weight = Simd::set(old_factor), new_weight = Simd::set(new_factor);
        for (int i = 0; i < value_stride; i += kLanes) {
            float* mixed = total.mixed + static_cast<size_t>(row) * value_stride + i;
            const F added = Simd::mul(Simd::load(next.mixed + static_cast<size_t>(row) * value_stride + i), new_weight);
            Simd::store(mixed, Simd::fma(Simd::load(mixed), old_weight, added));
        }
        total.sum[row] = total.sum[row] * old_factor + next.sum[row] * new_factor;
        total.max[row] = top;
    }
}

// ---- choosing a token ----

// e^x x 2^bits for x <= 0, within 1.3 units in the last place; below e^-64, which is no mass, it stays at that. Without
// fma, so that decoding/masses.py can do the same with numpy, which has none: any change is to be made in both.
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

void masses(const float* logits, int size, float highest, float divisor, int bits, float* out) {
    const F top = Simd::set(highest), units = Simd::set(static_cast<float>(bits));
    const auto masses_of = [&](const float* from) {
        const F distance = Simd::sub(Simd::load(from), top);
        return Simd::round(scaled_exp(divisor == 1.0f ? distance : Simd::div(distance, Simd::set(divisor)), units));
    };
    int i = 0;
    for (; i + kLanes <= size; i += kLanes) Simd::store(out + i, masses_of(logits + i));
    if (i == size) return;
    float lanes[kLanes];
    std::fill(std::copy(logits + i, logits + size, lanes), lanes + kLanes, highest);
    Simd::store(lanes, masses_of(lanes));
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

double sum_from(const float* keys, float bound, const float* masses, int size) {
    const F lowest = Simd::set(bound);
    Simd::Sums sums = {};
    int i = 0;
    for (; i + kLanes <= size; i += kLanes) {
        sums = Simd::add(sums, Simd::keep_from(Simd::load(keys + i), lowest, Simd::load(masses + i)));
    }
    double total = Simd::sum_lanes(sums);
    for (; i < size; ++i) total += static_cast<double>(keys[i] >= bound ? masses[i] : 0.0f);
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

constexpr Kernels make_kernels(const char* name) {
    return {name,   Simd::kTokens, multiply, quantize, quantize_halves, rms_norm, layer_norm, store_position,
            attend, merge,         soft_cap, masses,   has_nan,         sum_from, maxima,     collect};
}

}  // namespace
}  // namespace nextword

#endif
