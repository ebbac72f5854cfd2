// Matrices of weights times the rows of activations.

#ifndef NEXTWORD_MATMUL_IMPL_H
#define NEXTWORD_MATMUL_IMPL_H

#include <algorithm>
#include <cstddef>

#include "math_impl.h"

namespace nextword {
namespace {

// Prefetch distance: weights stream from DRAM at twice the speed when prefetched this many bytes ahead; the hardware
// prefetcher suffices only while the weights stay in the caches.
constexpr int kBytesAhead = 8192;
// With more tokens arithmetic hides the memory latency.
constexpr int kFewTokens = 4;

[[gnu::always_inline]] inline void fetch_ahead(const uint8_t* weights, int bytes) {
    for (int line = 0; line < bytes; line += 64) __builtin_prefetch(weights + kBytesAhead + line);
}

// The weights of 16 rows of a panel of floats, from row `lane` on, for one column.
template <WeightKind kind>
[[gnu::always_inline]] inline F load_weights(const uint8_t* panel, int column, int lane) {
    const int at = column * kPanelRows + lane;
    if constexpr (kind == WeightKind::F32) return Simd::load(reinterpret_cast<const float*>(panel) + at);
    const uint16_t* halves = reinterpret_cast<const uint16_t*>(panel) + at;
    return kind == WeightKind::F16 ? Simd::load_fp16(halves) : Simd::load_bf16(halves);
}

template <WeightKind kind, int T>
[[gnu::always_inline]] inline void multiply_floats(const uint8_t* panel, const Activations& x, int token,
                                                   F (&sum)[T][2]) {
    const float* row[T];
    for (int t = 0; t < T; ++t) row[t] = x.rows + static_cast<size_t>(token + t) * x.row_stride;
    constexpr int column_bytes = static_cast<int>(unit_bytes(kind));
    for (int column = 0; column < x.columns; ++column) {
        if constexpr (T <= kFewTokens) fetch_ahead(panel + column * column_bytes, column_bytes);
        const F w0 = load_weights<kind>(panel, column, 0), w1 = load_weights<kind>(panel, column, kLanes);
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
// `dot_of(group, panel, quants, dot)` adds the integer products of a group, and may prefetch memory that is needed
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

// A whole panel times T tokens. `fetch(group, panel)` prefetches memory that is needed after this group.
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

void activate_row(const float* sums, const Output& out) {
    const int panel_width = out.epilogue == Epilogue::Gate ? kLanes : kPanelRows;
    Output unbiased = out;
    unbiased.bias = nullptr;
    for (int panel = 0; panel * panel_width < out.width; ++panel) {
        const float* both = sums + panel * kPanelRows;
        finish<1>(unbiased, panel, 0, {{Simd::load(both), Simd::load(both + kLanes)}});
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
        multiply_floats<kind, T>(panel, x, token, sum);
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

// Nibbles of some groups of a panel as bytes, and the running sums of some tokens: together they stay in the first
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
        float (*running)[kPanelRows] = sums + (token - first_token);
        F sum[T][2];
        for (int t = 0; t < T; ++t) {
            sum[t][0] = first_group == 0 ? Simd::set(0.0f) : Simd::load(running[t]);
            sum[t][1] = first_group == 0 ? Simd::set(0.0f) : Simd::load(running[t] + kLanes);
        }
        multiply_groups<kind, T>(panel + first_group * unit_bytes(kind), num_groups, x, at, sum,
                                 [&](int group, const uint8_t*, const int8_t* quants, I(&dot)[T][2]) {
                                     dot_quads<T>(nibbles[group], quants, dot, Simd::dot_nibbles);
                                 });
        if (first_group + num_groups == all_groups) return finish<T>(out, index, token, sum);
        for (int t = 0; t < T; ++t) {
            Simd::store(running[t], sum[t][0]);
            Simd::store(running[t] + kLanes, sum[t][1]);
        }
    }
};

template <WeightKind kind>
void multiply_kind(const Matrix& matrix, int first_panel, int last_panel, const Activations& x, const Output& out) {
    for (int index = first_panel; index < last_panel; ++index) {
        in_blocks<Simd::kTokens>(0, x.num_tokens, MultiplyTile<kind>{matrix.panel(index), index, x, out});
    }
}

// The same for many tokens of 4-bit weights: nibbles are unpacked once for several tiles.
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
        case WeightKind::F16: return multiply_kind<WeightKind::F16>(matrix, first_panel, last_panel, x, out);
        case WeightKind::BF16: return multiply_kind<WeightKind::BF16>(matrix, first_panel, last_panel, x, out);
        case WeightKind::Q8: return multiply_kind<WeightKind::Q8>(matrix, first_panel, last_panel, x, out);
        case WeightKind::Q4: return multiply_nibbles<WeightKind::Q4>(matrix, first_panel, last_panel, x, out);
        case WeightKind::Q4Min: return multiply_nibbles<WeightKind::Q4Min>(matrix, first_panel, last_panel, x, out);
    }
}

}  // namespace
}  // namespace nextword

#endif
