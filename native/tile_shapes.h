// The shapes of the eight matrix tiles that products and attention use.

#ifndef NEXTWORD_TILE_SHAPES_H
#define NEXTWORD_TILE_SHAPES_H

#include <cstdint>

namespace nextword {

constexpr int kTileRows = 16;

// As the instruction LDTILECFG reads it.
struct alignas(64) TileShapes {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64, "as the instruction reads it");

constexpr TileShapes tile_shapes(const int (&rows)[8], const int (&row_bytes)[8]) {
    TileShapes shapes;
    for (int tile = 0; tile < 8; ++tile) {
        shapes.rows[tile] = static_cast<uint8_t>(rows[tile]);
        shapes.row_bytes[tile] = static_cast<uint16_t>(row_bytes[tile]);
    }
    return shapes;
}

// Tiles 0 and 1: sums of 16 tokens x 16 rows of weights. 2 and 3: 32 int8 numbers of 16 tokens, 4 and 5: 8 quads of 16
// rows of weights. 6 and 7: likewise of 16 columns, for kinds whose scales are those of 16.
constexpr TileShapes product_tile_shapes() {
    return tile_shapes({16, 16, 16, 16, 8, 8, 16, 4}, {64, 64, 32, 32, 64, 64, 16, 64});
}

// Tiles 0 to 3: sums of 16 queries x 16 positions or dimensions. 4 and 5: 32 numbers of 16 queries, or the weights of
// 32 positions, in two parts. 6 and 7: 8 quads of 16 keys, or of 16 dimensions of values.
constexpr TileShapes attention_tile_shapes() {
    return tile_shapes({16, 16, 16, 16, 16, 16, 8, 8}, {64, 64, 64, 64, 32, 32, 64, 64});
}

}  // namespace nextword

#endif
