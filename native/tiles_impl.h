// The kernels where matrix tiles multiply, and the test of the tiles that they use.

#ifndef NEXTWORD_TILES_IMPL_H
#define NEXTWORD_TILES_IMPL_H

#include "rows_impl.h"
#include "tiled_attention_impl.h"
#include "tiled_products_impl.h"

namespace nextword {
namespace {

// True if these tiles of 16 rows x `columns` bytes and of 16 columns give the products of plain integers, of which the
// second are raised by 128 or signed.
template <class Tiles, bool is_raised, int sums, int a, int b>
bool tiles_multiply_one(int columns) {
    int8_t tokens[kTileRows][kGroup], weights[kGroup / 4][kLanes][4];
    int32_t dots[kTileRows][kLanes];
    for (int i = 0; i < kTileRows * kGroup; ++i)
        tokens[i / kGroup][i % kGroup] = static_cast<int8_t>(i * 37 % 255 - 127);
    for (int i = 0; i < kLanes * kGroup; ++i)
        weights[i / 64][i / 4 % 16][i % 4] = static_cast<int8_t>(i * 91 % 256 - 128);
    Tiles::template zero<sums>();
    Tiles::template load<a>(tokens, kGroup);
    Tiles::template load<b>(weights, kLanes * 4);
    if constexpr (is_raised) {
        Tiles::template dot_raised<sums, a, b>();
    } else {
        Tiles::template dot<sums, a, b>();
    }
    Tiles::template store<sums>(dots, sizeof dots[0]);
    bool is_right = true;
    for (int t = 0; t < kTileRows; ++t) {
        for (int row = 0; row < kLanes; ++row) {
            int32_t sum = 0;
            for (int i = 0; i < columns; ++i) {
                const int8_t weight = weights[i / 4][row][i % 4];
                sum += tokens[t][i] * (is_raised ? static_cast<uint8_t>(weight) : weight);
            }
            is_right &= dots[t][row] == sum;
        }
    }
    return is_right;
}

template <class Tiles>
bool product_tiles_multiply() {
    const TileSession<Tiles, product_tile_shapes> session;
    return tiles_multiply_one<Tiles, false, 0, 2, 4>(kGroup) && tiles_multiply_one<Tiles, false, 1, 3, 5>(kGroup) &&
           tiles_multiply_one<Tiles, false, 0, 6, 7>(kGroup / 2);
}

template <class Tiles>
bool attention_tiles_multiply() {
    const TileSession<Tiles, attention_tile_shapes> session;
    return tiles_multiply_one<Tiles, true, 0, 4, 6>(kGroup) && tiles_multiply_one<Tiles, true, 1, 5, 7>(kGroup) &&
           tiles_multiply_one<Tiles, false, 2, 4, 7>(kGroup) && tiles_multiply_one<Tiles, false, 3, 5, 6>(kGroup);
}

// A processor or a system that gets them wrong must not be used with them.
template <class Tiles>
bool tiles_multiply() {
    return product_tiles_multiply<Tiles>() && attention_tiles_multiply<Tiles>();
}

// The same kernels, where tiles multiply.
template <class Tiles>
constexpr Kernels with_tiles(Kernels kernels) {
    kernels.multiply = multiply_tiled<Tiles>;
    kernels.quantize = quantize<kTileRows>;
    kernels.quantize_words = quantize_words<kTileRows>;
    kernels.attend = attend_tiled<Tiles>;
    kernels.tile_tokens = kernels.tile_query_rows = kTileRows;
    kernels.max_query_rows = 2 * kTileRows;
    return kernels;
}

}  // namespace
}  // namespace nextword

#endif
