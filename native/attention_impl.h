// Keys and values into the pages of the cache, and attention over them.

#ifndef NEXTWORD_ATTENTION_IMPL_H
#define NEXTWORD_ATTENTION_IMPL_H

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "matmul_impl.h"
#include "rows_impl.h"

namespace nextword {
namespace {

// ---- pages of keys and values ----

// 16 numbers of a row, padded with zeros.
F load_padded(const float* row, int at, int size) {
    if (at + kLanes <= size) return Simd::load(row + at);
    float padded[kLanes] = {};
    for (int i = 0; at + i < size; ++i) padded[i] = row[at + i];
    return Simd::load(padded);
}

// Above this a scale would be infinite in fp16. Larger keys are scaled down to it, which does not change the softmax.
constexpr float kLargestScale = 65504.0f;

// The scale of a group with NaN is NaN.
void store_quantized_key(int head_dim, int slot, const float* key, uint8_t* keys) {
    for (int start = 0; start < head_dim; start += kGroup, keys += unit_bytes(WeightKind::Q8)) {
        F low = load_padded(key, start, head_dim), high = load_padded(key, start + kLanes, head_dim);
        const float largest = largest_magnitude(low, high);
        if (largest != largest) low = high = Simd::set(0.0f);
        const F inverse = Simd::set(largest >= kLeastLargest ? 127.0f / largest : 0.0f);
        const float scale = largest / 127.0f;
        reinterpret_cast<uint16_t*>(keys)[slot] = Simd::to_fp16(scale > kLargestScale ? kLargestScale : scale);
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

constexpr int kMaxQueryRows = 24;  // of a segment: their scores and values stay in the first cache

F load_cached(const float* from) { return Simd::load(from); }
F load_cached(const uint16_t* from) { return Simd::load_bf16(from); }

// Prefetches the pages that the thread reads next, a few lines at a time: all at once would wait for one another.
class NextPages {
public:
    explicit NextPages(const AttentionSegment& segment)
        : pages_(segment.next_pages),
          num_bytes_(segment.page.bytes()),
          third_(static_cast<int>(num_bytes_ / 64) * kSegmentPages / 3) {}

    // Lines to prefetch in each of `num_calls` calls of `fetch`, so that these prefetch a third of the pages.
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

// Put the products of R query vectors and the keys of a page, of `halves` halves of its positions from number `half`
// on.
template <class Element, int half, int halves, int R>
[[gnu::always_inline]] inline void score_positions(const AttentionSegment& segment, const Element* keys,
                                                   const float* queries, int lines, NextPages& next,
                                                   F (&score)[R][kHalves]) {
    const int head_dim = segment.page.head_dim, row_stride = segment.queries.row_stride;
    F running[R][halves];  // a copy that no pointer reaches stays in registers
    for (int r = 0; r < R; ++r) {
        for (int h = 0; h < halves; ++h) running[r][h] = Simd::set(0.0f);
    }
    for (int d = 0; d < head_dim; ++d) {
        next.fetch(lines);
        F key[halves];
        for (int h = 0; h < halves; ++h) key[h] = load_cached(keys + d * kPagePositions + (half + h) * kLanes);
        for (int r = 0; r < R; ++r) {
            const F query = Simd::set(queries[r * row_stride + d]);
            for (int h = 0; h < halves; ++h) running[r][h] = Simd::fma(key[h], query, running[r][h]);
        }
    }
    for (int r = 0; r < R; ++r) {
        for (int h = 0; h < halves; ++h) score[r][half + h] = running[r][h];
    }
}

// Scores of R query vectors on the 32 positions of a page: both halves together, where there are registers for them.
template <class Element, int R>
void score_page(const AttentionSegment& segment, int page, int row, NextPages& next) {
    const Element* keys = reinterpret_cast<const Element*>(segment.keys[page]);
    const float* queries = segment.queries.rows + static_cast<size_t>(row) * segment.queries.row_stride;
    const int lines = row == 0 ? next.lines(kSegmentPages * segment.page.head_dim) : 0;
    F score[R][kHalves];
    score_positions<Element, 0, Simd::kHalvesAtOnce>(segment, keys, queries, lines, next, score);
    if constexpr (Simd::kHalvesAtOnce == 1) score_positions<Element, 1, 1>(segment, keys, queries, 0, next, score);
    put_scores<R>(segment, page, row, score);
}

// Add the products of one part of R queries and a group of keys, of `halves` halves of the positions from number
// `first` on. `V` is Simd: a parameter, because not all vectors multiply words.
template <class V, int part, int first, int R, int halves, int... quads>
[[gnu::always_inline]] inline void dot_part(const PanelUnit<WeightKind::Q8>& keys, const int8_t* queries,
                                            I (&dot)[R][halves], std::integer_sequence<int, quads...>) {
    const auto columns = Simd::load_columns<R, kGroup>(queries);
    const auto add = [&](auto quad) __attribute__((always_inline)) {
        Simd::Bytes key[halves];
        for (int half = 0; half < halves; ++half) {
            key[half] = keys.integers<quad>(0, first + half);
            if constexpr (V::kMultipliesWords) key[half] = V::template words<part>(key[half]);
        }
        for (int r = 0; r < R; ++r) {
            const auto query = Simd::spread<quad>(columns, r);
            for (int half = 0; half < halves; ++half) {
                if constexpr (V::kMultipliesWords) {
                    dot[r][half] = V::dot_words(dot[r][half], key[half], query);
                } else {
                    dot[r][half] = V::dot_bytes(dot[r][half], key[half], query);
                }
            }
        }
    };
    (add(std::integral_constant<int, quads>()), ...);
}

// Add the scaled products of R queries and a group of keys; `at` is the number of the first query's group.
template <class V, int first, int halves, int R>
[[gnu::always_inline]] inline void score_halves(const PanelUnit<WeightKind::Q8>& keys, const AttentionSegment& segment,
                                                size_t at, F (&score)[R][kHalves]) {
    constexpr std::make_integer_sequence<int, kQuads> quads;
    I dot[R][halves];
    for (int r = 0; r < R; ++r) {
        for (int half = 0; half < halves; ++half) dot[r][half] = Simd::set(0);
    }
    dot_part<V, 0, first>(keys, segment.queries.quants + at * kGroup, dot, quads);
    for (int r = 0; r < R && !V::kMultipliesWords; ++r) {
        for (int half = 0; half < halves; ++half) dot[r][half] = Simd::shift_left<8>(dot[r][half]);
    }
    dot_part<V, 1, first>(keys, segment.second_quants + at * kGroup, dot, quads);
    F scale[halves];
    for (int half = 0; half < halves; ++half) scale[half] = keys.scale(0, 0, first + half);
    for (int r = 0; r < R; ++r) {
        const int32_t sum = segment.queries.sums[at + r];
        const I offset = V::kMultipliesWords ? Simd::shift_left<7>(Simd::set(-sum)) : Simd::set(Simd::start_q8(sum));
        const F of_query = Simd::set(segment.queries.scales[at + r]);
        for (int half = 0; half < halves; ++half) {
            F& to = score[r][first + half];
            to = Simd::fma(Simd::to_float(Simd::add(dot[r][half], offset)), Simd::mul(scale[half], of_query), to);
        }
    }
}

// `score_page` by queries of 16 bits and keys of 8; a page of keys is a panel.
template <int R>
void score_quantized_page(const AttentionSegment& segment, int page, int row, NextPages& next) {
    F score[R][kHalves];
    for (int r = 0; r < R; ++r) score[r][0] = score[r][1] = Simd::set(0.0f);
    const int num_groups = ceil_div(segment.page.head_dim, kGroup);
    const int lines = row == 0 ? next.lines(kSegmentPages * num_groups) : 0;
    size_t at = static_cast<size_t>(row) * num_groups;
    for (int group = 0; group < num_groups; ++group, at += R) {
        next.fetch(lines);
        const PanelUnit<WeightKind::Q8> keys(segment.keys[page] + group * unit_bytes(WeightKind::Q8));
        score_halves<Simd, 0, Simd::kHalvesAtOnce>(keys, segment, at, score);
        if constexpr (Simd::kHalvesAtOnce == 1) score_halves<Simd, 1, 1>(keys, segment, at, score);
    }
    put_scores<R>(segment, page, row, score);
}

// The values of the segment, weighted, for R query vectors and V vectors of dimensions.
template <class Element, int R, int V>
void accumulate_values(const AttentionSegment& segment, int row, int dim, const SoftmaxState& out, NextPages& next) {
    F sums[R][V];
    for (int r = 0; r < R; ++r) {
        for (int v = 0; v < V; ++v) sums[r][v] = Simd::set(0.0f);
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
                for (int v = 0; v < V; ++v) sums[r][v] = Simd::fma(value[v], weight, sums[r][v]);
            }
        }
    }
    for (int r = 0; r < R; ++r) {
        float* to = out.values + static_cast<size_t>(row + r) * stride + dim;
        for (int v = 0; v < V; ++v) Simd::store(to + v * kLanes, sums[r][v]);
    }
}

// Weights of 14 bits in two parts, which replace a row's scores, and the scale to multiply them by. Vectors that do not
// multiply words have the high and the low 7 bits.
constexpr int kWeightBits = 7;
constexpr float kWeightSteps = 127 * (1 << kWeightBits);

struct QuantizedWeights {
    uint8_t parts[2][kSegmentPositions];
    float scale;
};
static_assert(sizeof(QuantizedWeights) <= kSegmentPositions * sizeof(float), "it takes a row's place");

float weights_scale(const uint8_t* weights) {
    float scale;
    __builtin_memcpy(&scale, weights + offsetof(QuantizedWeights, scale), sizeof scale);
    return scale;
}

template <class V>
void split_weights(uint8_t* first, uint8_t* second, typename V::I steps) {
    int8_t *const one = reinterpret_cast<int8_t*>(first), *const two = reinterpret_cast<int8_t*>(second);
    if constexpr (V::kMultipliesWords) {
        V::store_words(one, two, steps);
    } else {
        V::store_int8(one, V::template shift_right<kWeightBits>(steps));
        V::store_int8(two, V::template low_bits<kWeightBits>(steps));
    }
}

// From the row's weights, the first `padded` of which are set, and the largest of them.
void quantize_weights(float* row, int padded, float largest) {
    QuantizedWeights weights = {};
    const F inverse = Simd::set(largest >= kLeastLargest ? kWeightSteps / largest : 0.0f);
    for (int i = 0; i < padded; i += kLanes) {
        split_weights<Simd>(weights.parts[0] + i, weights.parts[1] + i,
                            Simd::to_int(Simd::mul(Simd::load(row + i), inverse)));
    }
    weights.scale = largest / kWeightSteps;
    __builtin_memcpy(row, &weights, sizeof weights);
}

// Add the products of one part of R rows' weights with the values of a page, from where their dimensions begin. `V` is
// Simd: a parameter, because not all vectors multiply words.
template <class V, int part, int R, int N, int... quads>
[[gnu::always_inline]] inline void add_page_products(const uint8_t* values, int quad_bytes, const uint8_t* weights,
                                                     int lines, NextPages& next, I (&sums)[R][N],
                                                     std::integer_sequence<int, quads...>) {
    constexpr int row_bytes = kSegmentPositions * sizeof(float);
    const auto columns = Simd::load_columns<R, row_bytes>(reinterpret_cast<const int8_t*>(weights));
    const auto add = [&](auto quad) __attribute__((always_inline)) {
        if (part == 0) next.fetch(lines);
        Simd::Bytes value[N];
        for (int n = 0; n < N; ++n) {
            value[n] = Simd::load_bytes(values + quad * quad_bytes + n * 64);
            if constexpr (V::kMultipliesWords) value[n] = V::template signed_words<part>(value[n]);
        }
        for (int r = 0; r < R; ++r) {
            const auto weight = Simd::spread<quad>(columns, r);
            for (int n = 0; n < N; ++n) {
                if constexpr (V::kMultipliesWords) {
                    sums[r][n] = V::dot_words(sums[r][n], value[n], weight);
                } else {
                    sums[r][n] = V::dot_weights(sums[r][n], value[n], weight);
                }
            }
        }
    };
    (add(std::integral_constant<int, quads>()), ...);
}

// The same for all pages and some parts.
template <class V, int... parts, int R, int N>
[[gnu::always_inline]] inline void add_value_products(std::integer_sequence<int, parts...>,
                                                      const AttentionSegment& segment, const uint8_t* weights, int dim,
                                                      int lines, NextPages& next, I (&sums)[R][N]) {
    constexpr std::make_integer_sequence<int, kPagePositions / 4> quads;
    const int num_pages = ceil_div(segment.num_positions, kPagePositions);
    const int quad_bytes = segment.page.value_stride() * 4;
    I running[R][N];  // a copy that no pointer reaches stays in registers
    for (int r = 0; r < R; ++r) {
        for (int n = 0; n < N; ++n) running[r][n] = sums[r][n];
    }
    for (int page = 0; page < num_pages; ++page) {
        const uint8_t* values = segment.values[page] + dim * 4;
        const uint8_t* of_page = weights + page * kPagePositions;
        (add_page_products<V, parts>(values, quad_bytes, of_page + parts * kSegmentPositions, lines, next, running,
                                     quads),
         ...);
    }
    for (int r = 0; r < R; ++r) {
        for (int n = 0; n < N; ++n) sums[r][n] = running[r][n];
    }
}

// `accumulate_values` for values of 8 bits: integer products, words at once, or the high bits of all weights first.
template <int R, int V>
void accumulate_quantized_values(const AttentionSegment& segment, int row, int dim, const SoftmaxState& out,
                                 NextPages& next) {
    const uint8_t* weights = reinterpret_cast<const uint8_t*>(segment.scores + row * kSegmentPositions);
    I sums[R][V];
    for (int r = 0; r < R; ++r) {
        for (int v = 0; v < V; ++v) sums[r][v] = Simd::set(0);
    }
    const int lines = row == 0 && dim == 0 ? next.lines(kSegmentPositions / 4) : 0;
    if constexpr (Simd::kMultipliesWords) {
        add_value_products<Simd>(std::integer_sequence<int, 0, 1>(), segment, weights, dim, lines, next, sums);
    } else {
        add_value_products<Simd>(std::integer_sequence<int, 0>(), segment, weights, dim, lines, next, sums);
        for (int r = 0; r < R; ++r) {
            for (int v = 0; v < V; ++v) sums[r][v] = Simd::shift_left<kWeightBits>(sums[r][v]);
        }
        add_value_products<Simd>(std::integer_sequence<int, 1>(), segment, weights, dim, 0, next, sums);
    }
    for (int r = 0; r < R; ++r) {
        const float scale = weights_scale(weights + r * kSegmentPositions * sizeof(float));
        float* to = out.values + static_cast<size_t>(row + r) * segment.page.value_stride() + dim;
        for (int v = 0; v < V; ++v)
            Simd::store(to + v * kLanes, Simd::mul(Simd::to_float(sums[r][v]), Simd::set(scale)));
    }
}

F load_value_scales(const AttentionSegment& segment, int position) {
    const uint8_t* scales = segment.values[position / kPagePositions] + segment.page.elements_bytes();
    return Simd::load(reinterpret_cast<const float*>(scales) + position % kPagePositions);
}

// Caps and masks a row's scores, and returns the largest one; in this order of its arguments `max` passes NaN over.
float mask_scores(const AttentionSegment& segment, int row, int padded) {
    float* scores = segment.scores + row * kSegmentPositions;
    if (segment.soft_cap > 0.0f) soft_cap(scores, padded, segment.soft_cap);
    for (int i = 0; i < segment.first[row]; ++i) scores[i] = -kInfinity;
    for (int i = segment.last[row]; i < padded; ++i) scores[i] = -kInfinity;
    F largest = Simd::set(-kInfinity);
    for (int i = 0; i < padded; i += kLanes) largest = Simd::max(Simd::load(scores + i), largest);
    return Simd::max_lanes(largest);
}

// e^x for x up to 0, within 4e-6 of its size: much finer than the 14 bits of a weight of values. 0 below -87.7.
F weight_exp(F x) {
    const F log2_e = Simd::set(1.44269504f), clipped = Simd::max(Simd::set(-88.0f), x);  // where pow2 is 0; NaN stays
    const F n = Simd::round(Simd::mul(clipped, log2_e));
    const F r = Simd::fma(clipped, log2_e, Simd::sub(Simd::set(0.0f), n));
    F p = Simd::set(0.0095701003f);  // of 2^r for r from -1/2 to 1/2, with the least relative error
    for (const float coefficient : {0.055917859f, 0.24024744f, 0.69312179f, 0.99999928f}) {
        p = Simd::fma(p, r, Simd::set(coefficient));
    }
    return Simd::mul(p, Simd::pow2(n));
}

// Scores to their exponentials below the largest one, whose sum is `sum`. If values have scales, the exponentials are
// then multiplied by them. Returns the largest product, in the lanes.
template <bool has_scales>
F weigh_scores(const AttentionSegment& segment, float* scores, int padded, float top, float& sum, int lines,
               NextPages& next) {
    const F shift = Simd::set(top == -kInfinity ? 0.0f : top);
    F total = Simd::set(0.0f), largest = total;
    NextPages pages = next;  // a copy, which stays in registers
    for (int i = 0; i < padded; i += kLanes) {
        pages.fetch(lines);
        const F below = Simd::sub(Simd::load(scores + i), shift);
        const F weight = has_scales ? weight_exp(below) : exp(below);
        total = Simd::add(total, weight);
        const F scaled = has_scales ? Simd::mul(weight, load_value_scales(segment, i)) : weight;
        largest = Simd::max(scaled, largest);  // NaN is passed over: it is in the sum
        Simd::store(scores + i, scaled);
    }
    sum = Simd::sum_lanes(total);
    next = pages;
    return largest;
}

// Rows whose scores become weights side by side, so that the processor need not wait for the largest one of each.
constexpr int kNormalizedRows = 8;

// Scores to weights, quantized to integers where values have scales.
template <bool has_scales>
void normalize_scores(const AttentionSegment& segment, const SoftmaxState& out, NextPages& next) {
    const int padded = ceil_div(segment.num_positions, kLanes) * kLanes, num_rows = segment.queries.num_tokens;
    const int lines = next.lines(num_rows * (kSegmentPositions / kLanes));
    for (int first = 0; first < num_rows; first += kNormalizedRows) {
        const int last = std::min(first + kNormalizedRows, num_rows);
        F largest[kNormalizedRows];
        for (int row = first; row < last; ++row) out.max[row] = mask_scores(segment, row, padded);
        for (int row = first; row < last; ++row) {
            float* scores = segment.scores + row * kSegmentPositions;
            largest[row - first] =
                weigh_scores<has_scales>(segment, scores, padded, out.max[row], out.sum[row], lines, next);
        }
        for (int row = first; row < last && has_scales; ++row) {
            float* scores = segment.scores + row * kSegmentPositions;
            quantize_weights(scores, padded, Simd::max_lanes(largest[row - first]));
        }
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
void accumulate_block(const AttentionSegment& segment, int row, int dim, const SoftmaxState& out, NextPages& next) {
    if constexpr (sizeof(Element) == 1) {
        accumulate_quantized_values<R, V>(segment, row, dim, out, next);
    } else {
        accumulate_values<Element, R, V>(segment, row, dim, out, next);
    }
}

template <class Element, int R>
void accumulate_rows(const AttentionSegment& segment, int row, const SoftmaxState& out, NextPages& next) {
    const int stride = segment.page.value_stride();
    int dim = 0;
    if constexpr (Simd::kHalvesAtOnce > 1) {  // there are registers for the sums of 64 dimensions
        for (; dim + 4 * kLanes <= stride; dim += 4 * kLanes)
            accumulate_block<Element, R, 4>(segment, row, dim, out, next);
    }
    for (; dim < stride; dim += kLanes) accumulate_block<Element, R, 1>(segment, row, dim, out, next);
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
struct AccumulateRows {
    const AttentionSegment& segment;
    const SoftmaxState& out;
    NextPages& next;
    template <int R>
    void operator()(int row) {
        accumulate_rows<Element, R>(segment, row, out, next);
    }
};

template <class Element, int Rows>
void attend_cached(const AttentionSegment& segment, const SoftmaxState& out) {
    NextPages next(segment);
    in_blocks<Rows>(0, segment.queries.num_tokens, ScoreRows<Element>{segment, next});
    normalize_scores<sizeof(Element) == 1>(segment, out, next);
    constexpr int accumulated = sizeof(Element) == 1 ? 4 : 6;
    in_blocks<accumulated>(0, segment.queries.num_tokens, AccumulateRows<Element>{segment, out, next});
}

void attend(const AttentionSegment& segment, const SoftmaxState& out) {
    switch (segment.page.kind) {
        case CacheKind::F32: return attend_cached<float, Simd::kFloatTokens>(segment, out);
        case CacheKind::BF16: return attend_cached<uint16_t, Simd::kFloatTokens>(segment, out);
        case CacheKind::Q8: return attend_cached<int8_t, Simd::kTokens>(segment, out);
    }
}

float exp_one(float x) {
    float lanes[kLanes];
    Simd::store(lanes, exp(Simd::set(x)));
    return lanes[0];
}

void merge(const SoftmaxState& total, const SoftmaxState& next, int num_rows, int value_stride) {
    for (int row = 0; row < num_rows; ++row) {
        if (next.sum[row] == 0.0f) continue;  // it attends to nothing there
        const float top = next.max[row] > total.max[row] ? next.max[row] : total.max[row];
        const float old_factor = exp_one(total.max[row] - top), new_factor = exp_one(next.max[row] - top);
        const F old_weight = Simd::set(old_factor), new_weight = Simd::set(new_factor);
        for (int i = 0; i < value_stride; i += kLanes) {
            float* sums = total.values + static_cast<size_t>(row) * value_stride + i;
            const F added =
                Simd::mul(Simd::load(next.values + static_cast<size_t>(row) * value_stride + i), new_weight);
            Simd::store(sums, Simd::fma(Simd::load(sums), old_weight, added));
        }
        total.sum[row] = total.sum[row] * old_factor + next.sum[row] * new_factor;
        total.max[row] = top;
    }
}

}  // namespace
}  // namespace nextword

#endif
