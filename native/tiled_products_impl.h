// Products of many tokens by matrix tiles: `Tiles` multiplies 16 tokens with 16 rows of weights over 32 columns in one
// instruction. The products are whole numbers, and the floats are added as in matmul_impl.h, so the bits are the same.

#ifndef NEXTWORD_TILED_PRODUCTS_IMPL_H
#define NEXTWORD_TILED_PRODUCTS_IMPL_H

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

#include "matmul_impl.h"
#include "tile_session.h"

namespace nextword {
namespace {

// Tokens for which a part of a panel is taken apart once.
constexpr int kTiledTokens = 128;

// Some groups of one half of a panel, taken apart, times a tile of up to 16 tokens. Where there are fewer, the tile has
// what follows in memory for the others, and its products are not used.
template <class Tiles, class Unit>
class TileProduct {
public:
    // `at`: number of the tile's first group in `x`.
    TileProduct(const Unit& unit, int half, const Activations& x, size_t at, int num_tokens)
        : unit_(unit), half_(half), x_(x), at_(at), num_tokens_(num_tokens) {}

    // Add to the sums of each token. The tiles are a step ahead of the floats, so that they work at the same time.
    void add_to(float (*sums)[kPanelRows], int num_groups) {
        const int num_steps = num_groups * kSpans;
        multiply<0>(0);
        for (int step = 0; step < num_steps; step += 2) {
            if (step + 1 < num_steps) multiply<1>(step + 1);
            add_scaled<0>(step, sums);
            if (step + 1 == num_steps) return;
            if (step + 2 < num_steps) multiply<0>(step + 2);
            add_scaled<1>(step + 1, sums);
        }
    }

private:
    static constexpr int kSpans = Unit::kSpans;
    static_assert(!Unit::kHasOctets, "a tile has quads");

    // The integer products of a span of a group, into the dots of one of two sides, in turn.
    template <int side>
    [[gnu::always_inline]] void multiply(int step) {
        constexpr int tokens = kSpans == 1 ? 2 + side : 6, weights = kSpans == 1 ? 4 + side : 7;
        const int group = step / kSpans, span = step % kSpans;
        const int8_t* quants = x_.quants + (at_ + static_cast<size_t>(group) * num_tokens_) * kGroup;
        Tiles::template zero<side>();
        Tiles::template load<tokens>(quants + span * (kGroup / kSpans), kGroup);
        Tiles::template load<weights>(unit_.quads[group][span * (kQuads / kSpans)] + half_ * kLanes * 4,
                                      kPanelRows * 4);
        Tiles::template dot<side, tokens, weights>();
        Tiles::template store<side>(dots_[side], sizeof dots_[side][0]);
    }

    template <int side>
    [[gnu::always_inline]] void add_scaled(int step, float (*sums)[kPanelRows]) const {
        constexpr int span = kSpans == 1 ? 0 : side;
        const int group = step / kSpans;
        const TokenGroup tokens(x_, at_ + static_cast<size_t>(group) * num_tokens_);
        const F scale = unit_.scale(group, span, half_);
        for (int t = 0; t < num_tokens_; ++t) {
            float* to = sums[t] + half_ * kLanes;
            const F dot = Simd::to_float(Simd::load_int(dots_[side][t]));
            F sum = Simd::fma(dot, Simd::mul(scale, Simd::set(tokens.scales[t])), Simd::load(to));
            if constexpr (Unit::kHasMinimum) {
                sum = Simd::fma(unit_.minimum(group, span, half_), Simd::set(tokens.total<kSpans, span>(t)), sum);
            }
            Simd::store(to, sum);
        }
    }

    const Unit& unit_;
    int half_;
    const Activations& x_;
    size_t at_;
    int num_tokens_;
    alignas(64) int32_t dots_[2][kTileRows][kLanes];
};

// Groups first to first + count of a panel, taken apart, with integers that are not raised.
template <WeightKind kind, class Unit>
void unpack_signed(const uint8_t* panel, int first, int count, Unit& out) {
    unpack<kind>(panel, first, count, out);
    if (traits(kind).offset == 0) return;
    for (int group = 0; group < count; ++group) {
        for (auto& quad : out.quads[group]) {
            for (uint8_t& byte : quad) byte = static_cast<uint8_t>(byte - traits(kind).offset);
        }
    }
}

// Panel number `index` times up to 128 tokens.
template <class Tiles, WeightKind kind, class Unit>
void multiply_panel_by_tiles(const Matrix& matrix, int index, int first_token, int num_tokens, Unit& unit,
                             const Activations& x, const Output& out) {
    alignas(64) float sums[kTiledTokens][kPanelRows];
    std::memset(sums, 0, num_tokens * sizeof sums[0]);
    const int all_groups = ceil_div(x.columns, kGroup);
    for (int group = 0; group < all_groups; group += kUnpackedGroups) {
        const int count = std::min(kUnpackedGroups, all_groups - group);
        unpack_signed<kind>(matrix.panel(index), group, count, unit);
        for (int token = 0; token < num_tokens; token += kTileRows) {
            const int tokens = std::min(kTileRows, num_tokens - token);
            const size_t at =
                static_cast<size_t>(first_token + token) * all_groups + static_cast<size_t>(group) * tokens;
            for (int half = 0; half < kHalves; ++half) {
                TileProduct<Tiles, Unit>(unit, half, x, at, tokens).add_to(sums + token, count);
            }
        }
    }
    for (int token = 0; token < num_tokens; ++token) {
        const F sum[1][2] = {{Simd::load(sums[token]), Simd::load(sums[token] + kLanes)}};
        finish<1>(out, index, first_token + token, sum);
    }
}

// Few tokens fill a small part of a tile, and wait for the weights anyway; floats would have to be rounded.
template <class Tiles, WeightKind kind>
void multiply_by_tiles(const Matrix& matrix, int first_panel, int last_panel, const Activations& x, const Output& out) {
    if constexpr (!is_quantized(kind)) {
        multiply_kind<kind, Simd::kFloatTokens>(matrix, first_panel, last_panel, x, out);
    } else {
        if (x.num_tokens <= Simd::kTokens)
            return multiply_kind<kind, Simd::kTokens>(matrix, first_panel, last_panel, x, out);
        const TileSession<Tiles, product_tile_shapes> session;
        UnpackedOf<PanelUnit<kind>> unit;
        for (int index = first_panel; index < last_panel; ++index) {
            for (int token = 0; token < x.num_tokens; token += kTiledTokens) {
                const int num_tokens = std::min(kTiledTokens, x.num_tokens - token);
                multiply_panel_by_tiles<Tiles, kind>(matrix, index, token, num_tokens, unit, x, out);
            }
        }
    }
}

template <class Tiles, int... kinds>
constexpr auto tiled_products(std::integer_sequence<int, kinds...>) {
    return std::array{multiply_by_tiles<Tiles, static_cast<WeightKind>(kinds)>...};
}

template <class Tiles>
void multiply_tiled(const Matrix& matrix, int first_panel, int last_panel, const Activations& x, const Output& out) {
    static constexpr auto products = tiled_products<Tiles>(std::make_integer_sequence<int, kNumWeightKinds>());
    products[static_cast<int>(matrix.kind)](matrix, first_panel, last_panel, x, out);
}

}  // namespace
}  // namespace nextword

#endif
