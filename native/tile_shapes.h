// The shapes of the eight matrix tiles that the products use.

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

// Tiles 0 and 1: sums of 16 tokens x 16 rows of weights. 2 and 3: 32 int8 numbers of 16 tokens, 4 and 5: 8 quads of 16
// rows of weights. 6 and 7: likewise of 16 columns, for kinds whose scales are those of 16.
constexpr TileShapes tile_shapes() {
    TileShapes shapes;
    const int rows[] = {16, 16, 16, 16, 8, 8, 16, 4}, row_bytes[] = {64, 64, 32, 32, 64, 64, 16, 64};
    for (int tile = 0; tile < 8; ++tile) {
        shapes.rows[tile] = static_cast<uint8_t>(rows[tile]);
        shapes.row_bytes[tile] = static_cast<uint16_t>(row_bytes[tile]);
    }
    return shapes;
}

}  // namespace nextword

#endif
