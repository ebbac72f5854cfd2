// Matrices of weights times the rows of activations.

#ifndef NEXTWORD_MATMUL_IMPL_H
#define NEXTWORD_MATMUL_IMPL_H

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "math_impl.h"
#include "panel_impl.h"

namespace nextword {
namespace {

// Weights stream from DRAM at twice the speed when prefetched some bytes ahead; the hardware prefetcher suffices only
// while they stay in the caches. The first tile of tokens brings a panel there, where the next tiles find it.
constexpr int bytes_ahead(int token) { return token == 0 ? Simd::kBytesAhead : 0; }

// Into the second cache: the first is too small for what a tile of tokens reads meanwhile.
[[gnu::always_inline]] inline void fetch_ahead(const uint8_t* weights, int ahead, int bytes) {
    for (int line = 0; line < bytes; line += 64) __builtin_prefetch(weights + ahead + line, 0, 2);
}

// The weights of 16 rows of a panel of floats, from row `lane` on, for one column.
template <WeightKind kind>
[[gnu::always_inline]] inline F load_weights(const uint8_t* panel, int column, int lane) {
    const int at = column * kPanelRows + lane;
    if constexpr (kind == WeightKind::F32) return Simd::load(reinterpret_cast<const float*>(panel) + at);
    const uint16_t* halves = reinterpret_cast<const uint16_t*>(panel) + at;
    return kind == WeightKind::F16 ? Simd::load_fp16(halves) : Simd::load_bf16(halves);
}

// Columns of floats whose two halves are multiplied one after the other: the second finds them in the first cache.
constexpr int kFloatColumns = 64;

// Add the products of columns first to last of a panel of floats and T tokens, of `halves` halves of the panel's rows
// from number `half` on.
template <WeightKind kind, int half, int halves, int T>
[[gnu::always_inline]] inline void multiply_columns(const uint8_t* panel, int first, int last,
                                                    const float* const (&rows)[T], int ahead, F (&sum)[T][kHalves]) {
    constexpr int column_bytes = static_cast<int>(unit_bytes(kind)), half_bytes = column_bytes / kHalves;
    F running[T][halves];  // a copy that no pointer reaches stays in registers
    for (int t = 0; t < T; ++t) {
        for (int h = 0; h < halves; ++h) running[t][h] = sum[t][half + h];
    }
    for (int column = first; column < last; ++column) {
        fetch_ahead(panel + column * column_bytes + half * half_bytes, ahead, halves * half_bytes);
        F w[halves];
        for (int h = 0; h < halves; ++h) w[h] = load_weights<kind>(panel, column, (half + h) * kLanes);
        for (int t = 0; t < T; ++t) {
            const F value = Simd::set(rows[t][column]);
            for (int h = 0; h < halves; ++h) running[t][h] = Simd::fma(w[h], value, running[t][h]);
        }
    }
    for (int t = 0; t < T; ++t) {
        for (int h = 0; h < halves; ++h) sum[t][half + h] = running[t][h];
    }
}

// The same for the whole panel: both halves together, where there are registers for them.
template <WeightKind kind, int T>
[[gnu::always_inline]] inline void multiply_floats(const uint8_t* panel, const Activations& x, int token,
                                                   F (&sum)[T][kHalves]) {
    const float* rows[T];
    for (int t = 0; t < T; ++t) rows[t] = x.rows + static_cast<size_t>(token + t) * x.row_stride;
    const int ahead = bytes_ahead(token);
    constexpr int few = kind == WeightKind::F32 ? 4 : 2;  // tokens for which memory is the limit
    if constexpr (Simd::kHalvesAtOnce == kHalves || T <= few) {
        multiply_columns<kind, 0, kHalves>(panel, 0, x.columns, rows, ahead, sum);
    } else {
        for (int column = 0; column < x.columns; column += kFloatColumns) {
            const int last = std::min(x.columns, column + kFloatColumns);
            multiply_columns<kind, 0, 1>(panel, column, last, rows, ahead, sum);
            multiply_columns<kind, 1, 1>(panel, column, last, rows, ahead, sum);
        }
    }
}

// Number `at` of the quads of a span. Those that share a byte of 4-bit integers come one after the other.
constexpr int quad_of(int spans, int span, int at) {
    return spans == 1 ? at / 2 + at % 2 * (kQuads / 2) : span * (kQuads / 2) + at;
}

// Add the integer products of one span of a group, of `halves` halves of the rows from number `first` on.
template <int T, int span, int first, int halves, class Unit, int... at>
[[gnu::always_inline]] inline void dot_span(const Unit& unit, int group, const int8_t* x, I (&dot)[T][halves],
                                            std::integer_sequence<int, at...>) {
    const auto columns = Simd::load_columns<T, kGroup>(x);
    const auto add = [&](auto number) __attribute__((always_inline)) {
        constexpr int quad = quad_of(Unit::kSpans, span, number);
        Simd::Bytes w[halves];
        for (int half = 0; half < halves; ++half) w[half] = unit.template integers<quad>(group, first + half);
        for (int t = 0; t < T; ++t) {
            const auto value = Simd::spread<quad>(columns, t);
            for (int half = 0; half < halves; ++half) {
                dot[t][half] = Unit::kIsRaised ? Simd::dot_bytes(dot[t][half], w[half], value)
                                               : Simd::dot_nibbles(dot[t][half], w[half], value);
            }
        }
    };
    (add(std::integral_constant<int, at>()), ...);
}

// Add the integer products of one span of a group and one half of the rows, where several quads' products
// are added in 16 bits before they become sums of 32. `V` is Simd: a parameter, because not all vectors have such
// operations.
template <class V, int T, int span, int first, class Unit, int... next>
[[gnu::always_inline]] inline void dot_narrow(const Unit& unit, int group, int half, const int8_t* x, I (&dot)[T][1],
                                              std::integer_sequence<int, next...>) {
    constexpr int first_quad = quad_of(Unit::kSpans, span, first);
    typename V::Pairs pairs[T];
    const auto columns = Simd::load_columns<T, kGroup>(x);
    const Simd::Bytes w = unit.template integers<first_quad>(group, half);
    for (int t = 0; t < T; ++t) pairs[t] = V::pairs(w, Simd::spread<first_quad>(columns, t));
    const auto add = [&](auto number) __attribute__((always_inline)) {
        constexpr int quad = quad_of(Unit::kSpans, span, first + 1 + number);
        const Simd::Bytes more = unit.template integers<quad>(group, half);
        for (int t = 0; t < T; ++t) {
            pairs[t] = V::add(pairs[t], V::pairs(more, Simd::spread<quad>(columns, t)));
        }
    };
    (add(std::integral_constant<int, next>()), ...);
    for (int t = 0; t < T; ++t) dot[t][0] = V::add(dot[t][0], pairs[t]);
    constexpr int following = first + static_cast<int>(sizeof...(next)) + 1;
    if constexpr (following < kQuads / Unit::kSpans) {
        dot_narrow<V, T, span, following>(unit, group, half, x, dot, std::integer_sequence<int, next...>());
    }
}

// Put the integer products of one span of a group and one half of the rows, two tokens at a time; where T is odd, the
// last token is multiplied twice. `V` is Simd: a parameter, because not all vectors multiply octets.
template <class V, int T, int span, int half, class Unit, int... octets>
[[gnu::always_inline]] inline void dot_octets(const Unit& unit, int group, const int8_t* x, const int32_t (&start)[T],
                                              I (&dot)[T][1], std::integer_sequence<int, octets...>) {
    constexpr int pairs = (T + 1) / 2, first = span * (kQuads / 4);
    typename V::PairColumns columns[pairs];
    typename V::PairSums sums[pairs];
    for (int p = 0; p < pairs; ++p) {
        const int one = 2 * p, two = std::min(one + 1, T - 1);
        columns[p] = V::load_pair(x + one * kGroup, x + two * kGroup);
        sums[p] = V::set_pair(start[one], start[two]);
    }
    (V::template add_octets<first + octets>(sums, unit.octets(group, first + octets, half), columns), ...);
    for (int t = 0; t < T; ++t) dot[t][0] = t % 2 == 0 ? V::sums_of_first(sums[t / 2]) : V::sums_of_second(sums[t / 2]);
}

// The int8 form of one group of T tokens.
struct TokenGroup {
    const int8_t* quants;
    const float *scales, *totals;
    const int32_t *sums, *first_sums;

    TokenGroup(const Activations& x, size_t at)
        : quants(x.quants + at * kGroup),
          scales(x.scales + at),
          totals(x.totals + at),
          sums(x.sums + at),
          first_sums(x.first_sums + at) {}

    template <int spans, int span>
    int32_t sum(int t) const {
        return spans == 1 ? sums[t] : span == 0 ? first_sums[t] : sums[t] - first_sums[t];
    }
    // scale * sum.
    template <int spans, int span>
    float total(int t) const {
        return spans == 1 ? totals[t] : scales[t] * static_cast<float>(sum<spans, span>(t));
    }
};

// Add the minimums of one span of a group, times each token's sum.
template <int T, int span, int first, int halves, class Unit>
[[gnu::always_inline]] inline void add_minimums(const Unit& unit, int group, const TokenGroup& x,
                                                F (&sum)[T][kHalves]) {
    F minimum[halves];
    for (int half = 0; half < halves; ++half) minimum[half] = unit.minimum(group, span, first + half);
    for (int t = 0; t < T; ++t) {
        const F total = Simd::set(x.total<Unit::kSpans, span>(t));
        for (int half = 0; half < halves; ++half) {
            sum[t][first + half] = Simd::fma(minimum[half], total, sum[t][first + half]);
        }
    }
}

// Add the products of one span of a group, of `halves` halves of the rows from number `first` on.
template <int T, int span, int first, int halves, class Unit>
[[gnu::always_inline]] inline void multiply_halves(const Unit& unit, int group, const TokenGroup& x,
                                                   F (&sum)[T][kHalves]) {
    constexpr int spans = Unit::kSpans;
    I dot[T][halves];
    int32_t start[T];
    for (int t = 0; t < T; ++t) {
        const int32_t total = x.sum<spans, span>(t);
        start[t] = Unit::kIsRaised ? Simd::start_q8(total) : -unit.offset() * total;
        for (int half = 0; half < halves; ++half) dot[t][half] = Simd::set(start[t]);
    }
    if constexpr (Unit::kHasOctets) {
        dot_octets<Simd, T, span, first>(unit, group, x.quants, start, dot,
                                         std::make_integer_sequence<int, kQuads / 2 / spans>());
    } else if constexpr (Unit::kNarrowQuads > 1) {
        static_assert(halves == 1, "vectors with 16-bit sums have few registers");
        dot_narrow<Simd, T, span, 0>(unit, group, first, x.quants, dot,
                                     std::make_integer_sequence<int, Unit::kNarrowQuads - 1>());
    } else {
        dot_span<T, span, first>(unit, group, x.quants, dot, std::make_integer_sequence<int, kQuads / spans>());
    }
    F scale[halves];
    for (int half = 0; half < halves; ++half) scale[half] = unit.scale(group, span, first + half);
    for (int t = 0; t < T; ++t) {
        const F of_token = Simd::set(x.scales[t]);
        for (int half = 0; half < halves; ++half) {
            F& to = sum[t][first + half];
            to = Simd::fma(Simd::to_float(dot[t][half]), Simd::mul(scale[half], of_token), to);
        }
    }
    if constexpr (Unit::kHasMinimum) add_minimums<T, span, first, halves>(unit, group, x, sum);
}

// The same for the whole panel: both halves together, where there are registers for them.
template <int T, int span, class Unit>
[[gnu::always_inline]] inline void multiply_span(const Unit& unit, int group, const TokenGroup& x,
                                                 F (&sum)[T][kHalves]) {
    multiply_halves<T, span, 0, Simd::kHalvesAtOnce>(unit, group, x, sum);
    if constexpr (Simd::kHalvesAtOnce == 1) multiply_halves<T, span, 1, 1>(unit, group, x, sum);
}

// The first groups of a unit times groups of T tokens, whose first is number `at`. Before each group, `fetch(group)`
// prefetches memory that is needed later.
template <int T, class Unit, class Fetch>
[[gnu::always_inline]] inline void multiply_unit(const Unit& unit, int num_groups, const Activations& x, size_t at,
                                                 F (&sum)[T][2], Fetch fetch) {
    for (int group = 0; group < num_groups; ++group, at += T) {
        fetch(group);
        const TokenGroup tokens(x, at);
        multiply_span<T, 0>(unit, group, tokens, sum);
        if constexpr (Unit::kSpans == 2) multiply_span<T, 1>(unit, group, tokens, sum);
    }
}

// A whole panel times T tokens; `fetch(weights)` is called with where each group's share of the panel begins.
template <WeightKind kind, int T, class Fetch>
[[gnu::always_inline]] inline void multiply_panel(const uint8_t* panel, const Activations& x, int token, F (&sum)[T][2],
                                                  Fetch fetch) {
    constexpr int unit_groups = traits(kind).unit_groups;
    const int num_groups = ceil_div(x.columns, kGroup);
    const size_t at = static_cast<size_t>(token) * num_groups;
    for (int group = 0; group < num_groups; group += unit_groups, panel += unit_bytes(kind)) {
        multiply_unit<T>(PanelUnit<kind>(panel), unit_groups, x, at + static_cast<size_t>(group) * T, sum,
                         [&](int of_unit)
                             __attribute__((always_inline)) { fetch(panel + of_unit * group_share(kind)); });
    }
}

// The number that an epilogue leaves in the output, which held `before`.
[[gnu::always_inline]] inline F combined(F before, F value, Epilogue epilogue) {
    if (epilogue == Epilogue::Add) return Simd::add(before, value);
    return epilogue == Epilogue::Multiply ? Simd::mul(before, value) : value;
}

// Put 16 numbers into a row, or as many as it has.
[[gnu::always_inline]] inline void put(float* row, int at, int width, F value, Epilogue epilogue) {
    if (at + kLanes <= width) {
        Simd::store(row + at, combined(Simd::load(row + at), value, epilogue));
        return;
    }
    float lanes[kLanes] = {};
    for (int i = 0; at + i < width; ++i) lanes[i] = row[at + i];
    Simd::store(lanes, combined(Simd::load(lanes), value, epilogue));
    for (int i = 0; at + i < width; ++i) row[at + i] = lanes[i];
}

// Prefetch the numbers that `finish` writes: rows of many tokens lie far apart.
template <int T>
[[gnu::always_inline]] inline void fetch_output(const Output& out, int panel, int token) {
    const int width = out.epilogue == Epilogue::Gate ? kLanes : kPanelRows;
    for (int t = 0; t < T; ++t) {
        const float* row = out.rows + static_cast<size_t>(token + t) * out.row_stride + panel * width;
        for (int i = 0; i < width; i += kLanes) __builtin_prefetch(row + i, 1);
    }
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
            put(row, panel * kLanes, out.width, Simd::mul(activate(first, out.activation), second), Epilogue::Store);
        } else {
            put(row, panel * kPanelRows, out.width, activate(first, out.activation), out.epilogue);
            put(row, panel * kPanelRows + kLanes, out.width, activate(second, out.activation), out.epilogue);
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
    fetch_output<T>(out, index, token);
    F sum[T][2];
    for (int t = 0; t < T; ++t) sum[t][0] = sum[t][1] = Simd::set(0.0f);
    if constexpr (is_quantized(kind)) {
        multiply_panel<kind, T>(panel, x, token, sum,
                                [ahead = bytes_ahead(token)](const uint8_t* at)
                                    __attribute__((always_inline)) { fetch_ahead(at, ahead, group_share(kind)); });
    } else {
        multiply_floats<kind>(panel, x, token, sum);
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

template <WeightKind kind, int tile_tokens>
void multiply_kind(const Matrix& matrix, int first_panel, int last_panel, const Activations& x, const Output& out) {
    for (int index = first_panel; index < last_panel; ++index) {
        in_blocks<tile_tokens>(0, x.num_tokens, MultiplyTile<kind>{matrix.panel(index), index, x, out});
    }
}

// Tokens whose running sums are kept while a panel is taken apart: whole tiles.
constexpr int kUnpackedTokens = 96;
static_assert(kUnpackedTokens % Simd::kTokens == 0, "a tile's int8 form is contiguous");

// Some groups of a panel, taken apart, times some of the tokens.
template <class Unit>
struct MultiplyUnpacked {
    const Activations& x;
    const Output& out;
    const Unit& unit;
    int index, first_group, num_groups, first_token;
    const uint8_t* ahead;       // what is taken apart next, to prefetch
    int share;                  // bytes of it for each group
    float (*sums)[kPanelRows];  // of the groups before, for each token from first_token on

    template <int T>
    void operator()(int token) {
        const int all_groups = ceil_div(x.columns, kGroup);
        const size_t at = static_cast<size_t>(token) * all_groups + static_cast<size_t>(first_group) * T;
        float (*running)[kPanelRows] = sums + (token - first_token);
        if (first_group + num_groups == all_groups) fetch_output<T>(out, index, token);
        F sum[T][kHalves];
        for (int t = 0; t < T; ++t) {
            sum[t][0] = first_group == 0 ? Simd::set(0.0f) : Simd::load(running[t]);
            sum[t][1] = first_group == 0 ? Simd::set(0.0f) : Simd::load(running[t] + kLanes);
        }
        multiply_unit<T>(unit, num_groups, x, at, sum,
                         [this, bytes = token == 0 ? share : 0](int group)
                             __attribute__((always_inline)) { fetch_ahead(ahead, group * share, bytes); });
        if (first_group + num_groups == all_groups) return finish<T>(out, index, token, sum);
        for (int t = 0; t < T; ++t) {
            Simd::store(running[t], sum[t][0]);
            Simd::store(running[t] + kLanes, sum[t][1]);
        }
    }
};

// The same for many tokens: each group is taken apart once for several tiles of tokens.
template <WeightKind kind>
void multiply_unpacked(const Matrix& matrix, int first_panel, int last_panel, const Activations& x, const Output& out) {
    using Unit = UnpackedOf<PanelUnit<kind>>;
    Unit unit;
    alignas(64) float sums[kUnpackedTokens][kPanelRows];
    const int all_groups = ceil_div(x.columns, kGroup);
    for (int index = first_panel; index < last_panel; ++index) {
        for (int token = 0; token < x.num_tokens; token += kUnpackedTokens) {
            const int end = std::min(x.num_tokens, token + kUnpackedTokens);
            for (int group = 0; group < all_groups; group += kUnpackedGroups) {
                const int count = std::min(kUnpackedGroups, all_groups - group);
                unpack<kind>(matrix.panel(index), group, count, unit);
                const uint8_t* ahead = matrix.panel(index) + (group + count) * group_share(kind);
                in_blocks<Simd::kTokens>(
                    token, end,
                    MultiplyUnpacked<Unit>{x, out, unit, index, group, count, token, ahead, group_share(kind), sums});
            }
        }
    }
}

// True if a group is unpacked once for several tiles: nibbles only where unpacking costs time, or octets are wanted.
template <WeightKind kind>
bool is_unpacked_once(int num_tokens) {
    if (Simd::kMultipliesOctets) return num_tokens >= 2 * Simd::kTokens;
    if (kind != WeightKind::Q4 && kind != WeightKind::Q4Min) return num_tokens >= 5 * Simd::kTokens;
    return num_tokens >= 64 && Simd::unpacking_costs();
}

template <WeightKind kind>
void multiply_integers(const Matrix& matrix, int first_panel, int last_panel, const Activations& x, const Output& out) {
    const bool is_many = is_unpacked_once<kind>(x.num_tokens);
    return (is_many ? multiply_unpacked<kind> : multiply_kind<kind, Simd::kTokens>)(matrix, first_panel, last_panel, x,
                                                                                    out);
}

using Multiply = void (*)(const Matrix& matrix, int first_panel, int last_panel, const Activations& x,
                          const Output& out);

// Q8 has bytes already, and is taken apart only to make octets of them.
constexpr Multiply kMultiplyBytes = Simd::kMultipliesOctets ? Multiply{multiply_integers<WeightKind::Q8>}
                                                            : Multiply{multiply_kind<WeightKind::Q8, Simd::kTokens>};

constexpr Multiply multiply_of(WeightKind kind) {
    switch (kind) {
        case WeightKind::F32: return multiply_kind<WeightKind::F32, Simd::kFloatTokens>;
        case WeightKind::F16: return multiply_kind<WeightKind::F16, Simd::kFloatTokens>;
        case WeightKind::BF16: return multiply_kind<WeightKind::BF16, Simd::kFloatTokens>;
        case WeightKind::Q8: return kMultiplyBytes;
        case WeightKind::Q4: return multiply_integers<WeightKind::Q4>;
        case WeightKind::Q4Min: return multiply_integers<WeightKind::Q4Min>;
        case WeightKind::Q5: return multiply_integers<WeightKind::Q5>;
        case WeightKind::Q5Min: return multiply_integers<WeightKind::Q5Min>;
        case WeightKind::IQ4: return multiply_integers<WeightKind::IQ4>;
        case WeightKind::Q2K: return multiply_integers<WeightKind::Q2K>;
        case WeightKind::Q3K: return multiply_integers<WeightKind::Q3K>;
        case WeightKind::Q4K: return multiply_integers<WeightKind::Q4K>;
        case WeightKind::Q5K: return multiply_integers<WeightKind::Q5K>;
        case WeightKind::Q6K: return multiply_integers<WeightKind::Q6K>;
        case WeightKind::IQ4XS: return multiply_integers<WeightKind::IQ4XS>;
    }
    return nullptr;
}

void multiply(const Matrix& matrix, int first_panel, int last_panel, const Activations& x, const Output& out) {
    multiply_of(matrix.kind)(matrix, first_panel, last_panel, x, out);
}

}  // namespace
}  // namespace nextword

#endif
