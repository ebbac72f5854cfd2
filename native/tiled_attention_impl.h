// Attention of many queries to keys and values of 8 bits by matrix tiles. The integer products are exactly those of
// attention_impl.h, and the floats are computed as there, so the bits are the same.

#ifndef NEXTWORD_TILED_ATTENTION_IMPL_H
#define NEXTWORD_TILED_ATTENTION_IMPL_H

#include <algorithm>
#include <cstddef>

#include "attention_impl.h"
#include "tile_session.h"

namespace nextword {
namespace {

static_assert(!Simd::kMultipliesWords, "tiles multiply bytes: queries and weights are in two parts");

// Scores of up to 16 query vectors on the positions of a segment. Where there are fewer, the tiles have what follows in
// memory for the others, and those products are not used.
template <class Tiles>
class TiledScores {
public:
    TiledScores(const AttentionSegment& segment, int row, int num_rows, NextPages& next)
        : segment_(segment),
          next_(next),
          row_(row),
          num_rows_(num_rows),
          num_groups_(ceil_div(segment.page.head_dim, kGroup)),
          lines_(row == 0 ? next.lines(kSegmentPages * num_groups_) : 0) {}

    // The tiles are half a page ahead of the floats, and are stored when they have had the time of other floats, so
    // that neither waits for the other.
    void put() {
        const int num_pages = ceil_div(segment_.num_positions, kPagePositions);
        multiply<0>(0, 0);
        store<0>();
        for (int page = 0; page < num_pages; ++page) {
            for (int group = 0; group < num_groups_; ++group) {
                const bool ends_page = group + 1 == num_groups_, is_last = ends_page && page + 1 == num_pages;
                multiply<1>(page, group);
                add_scaled<0>(page, group);
                store<1>();
                if (!is_last) multiply<0>(page + ends_page, ends_page ? 0 : group + 1);
                add_scaled<1>(page, group);
                if (!is_last) store<0>();
            }
        }
    }

private:
    // Number of the first of the rows' groups.
    size_t at(int group) const {
        return static_cast<size_t>(row_) * num_groups_ + static_cast<size_t>(group) * num_rows_;
    }
    const uint8_t* keys(int page, int group) const { return segment_.keys[page] + group * unit_bytes(WeightKind::Q8); }

    // The products of both parts of the queries with half a page of keys, which are raised by 128.
    template <int half>
    [[gnu::always_inline]] void multiply(int page, int group) {
        constexpr int first = 2 * half, second = first + 1, key = 6 + half;
        if constexpr (half == 0) {
            next_.fetch(lines_);
            Tiles::template load<4>(segment_.queries.quants + at(group) * kGroup, kGroup);
            Tiles::template load<5>(segment_.second_quants + at(group) * kGroup, kGroup);
        }
        const uint8_t* quads = keys(page, group) + traits(WeightKind::Q8).header_bytes();
        Tiles::template load<key>(quads + half * kLanes * 4, kPanelRows * 4);
        Tiles::template zero<first>();
        Tiles::template zero<second>();
        Tiles::template dot_raised<first, 4, key>();
        Tiles::template dot_raised<second, 5, key>();
    }

    template <int half>
    [[gnu::always_inline]] void store() {
        Tiles::template store<2 * half>(dots_[half][0], sizeof dots_[half][0][0]);
        Tiles::template store<2 * half + 1>(dots_[half][1], sizeof dots_[half][1][0]);
    }

    template <int half>
    [[gnu::always_inline]] void add_scaled(int page, int group) const {
        const F scale = PanelUnit<WeightKind::Q8>(keys(page, group)).scale(0, 0, half);
        const int32_t* sums = segment_.queries.sums + at(group);
        const float* scales = segment_.queries.scales + at(group);
        float* to = segment_.scores + row_ * kSegmentPositions + page * kPagePositions + half * kLanes;
        // Not looked up again for each row: the compiler takes what the tiles store for anything.
        const int32_t (*high)[kLanes] = dots_[half][0], (*low)[kLanes] = dots_[half][1];
        const int num_rows = num_rows_;
        const bool is_first = group == 0;
        for (int r = 0; r < num_rows; ++r, to += kSegmentPositions) {
            const I dot = Simd::add(Simd::shift_left<8>(Simd::load_int(high[r])), Simd::load_int(low[r]));
            const F product = Simd::to_float(Simd::add(dot, Simd::set(-128 * sums[r])));
            const F before = is_first ? Simd::set(0.0f) : Simd::load(to);
            Simd::store(to, Simd::fma(product, Simd::mul(scale, Simd::set(scales[r])), before));
        }
    }

    const AttentionSegment& segment_;
    NextPages& next_;
    int row_, num_rows_, num_groups_, lines_;
    alignas(64) int32_t dots_[2][2][kTileRows][kLanes];
};

// The weighted values of up to 16 rows, in one or two vectors of dimensions from `dim` on.
template <class Tiles, int vectors>
void accumulate_tiled_values(const AttentionSegment& segment, int row, int num_rows, int dim, const SoftmaxState& out,
                             NextPages& next) {
    constexpr int row_bytes = kSegmentPositions * sizeof(float);
    const uint8_t* weights = reinterpret_cast<const uint8_t*>(segment.scores) + static_cast<size_t>(row) * row_bytes;
    const int num_pages = ceil_div(segment.num_positions, kPagePositions), stride = segment.page.value_stride();
    const int lines = row == 0 ? next.lines(kSegmentPages * ceil_div(stride, 2 * kLanes)) : 0;
    Tiles::template zero<0>(), Tiles::template zero<1>();
    if constexpr (vectors == 2) Tiles::template zero<2>(), Tiles::template zero<3>();
    for (int page = 0; page < num_pages; ++page) {
        next.fetch(lines);
        const uint8_t* values = segment.values[page] + dim * 4;
        Tiles::template load<4>(weights + page * kPagePositions, row_bytes);
        Tiles::template load<5>(weights + kSegmentPositions + page * kPagePositions, row_bytes);
        Tiles::template load<6>(values, static_cast<size_t>(stride) * 4);
        Tiles::template dot<0, 4, 6>();
        Tiles::template dot<1, 5, 6>();
        if constexpr (vectors == 2) {
            Tiles::template load<7>(values + kLanes * 4, static_cast<size_t>(stride) * 4);
            Tiles::template dot<2, 4, 7>();
            Tiles::template dot<3, 5, 7>();
        }
    }
    alignas(64) int32_t sums[vectors][2][kTileRows][kLanes];
    Tiles::template store<0>(sums[0][0], sizeof sums[0][0][0]);
    Tiles::template store<1>(sums[0][1], sizeof sums[0][1][0]);
    if constexpr (vectors == 2) {
        Tiles::template store<2>(sums[1][0], sizeof sums[1][0][0]);
        Tiles::template store<3>(sums[1][1], sizeof sums[1][1][0]);
    }
    for (int r = 0; r < num_rows; ++r) {
        const F scale = Simd::set(weights_scale(weights + static_cast<size_t>(r) * row_bytes));
        float* to = out.values + static_cast<size_t>(row + r) * stride + dim;
        for (int v = 0; v < vectors; ++v) {
            const I high = Simd::shift_left<kWeightBits>(Simd::load_int(sums[v][0][r]));
            const I sum = Simd::add(high, Simd::load_int(sums[v][1][r]));
            Simd::store(to + v * kLanes, Simd::mul(Simd::to_float(sum), scale));
        }
    }
}

// Few queries fill a small part of a tile; floats would have to be rounded.
template <class Tiles>
void attend_tiled(const AttentionSegment& segment, const SoftmaxState& out) {
    const int num_rows = segment.queries.num_tokens, stride = segment.page.value_stride();
    if (segment.page.kind != CacheKind::Q8 || num_rows <= Simd::kTokens) return attend(segment, out);
    const TileSession<Tiles, attention_tile_shapes> session;
    NextPages next(segment);
    for (int row = 0; row < num_rows; row += kTileRows) {
        TiledScores<Tiles>(segment, row, std::min(kTileRows, num_rows - row), next).put();
    }
    normalize_scores<true>(segment, out, next);
    for (int row = 0; row < num_rows; row += kTileRows) {
        const int rows = std::min(kTileRows, num_rows - row);
        int dim = 0;
        for (; dim + 2 * kLanes <= stride; dim += 2 * kLanes) {
            accumulate_tiled_values<Tiles, 2>(segment, row, rows, dim, out, next);
        }
        if (dim < stride) accumulate_tiled_values<Tiles, 1>(segment, row, rows, dim, out, next);
    }
}

}  // namespace
}  // namespace nextword

#endif
