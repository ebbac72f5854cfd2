// Matrix tiles in plain C++, for the kernels that use them.

#ifndef NEXTWORD_TESTS_EMULATED_TILES_H
#define NEXTWORD_TESTS_EMULATED_TILES_H

#include "tile_machine.h"
#include "tile_shapes.h"

namespace nextword {
namespace {

struct EmulatedTiles {
    static void configure(const TileShapes& shapes) { tile_machine().configure(&shapes); }
    static void release() { tile_machine().release(); }
    template <int tile>
    static void zero() {
        tile_machine().zero(tile);
    }
    template <int tile>
    static void load(const void* rows, size_t stride) {
        tile_machine().load(tile, rows, static_cast<int64_t>(stride));
    }
    template <int tile>
    static void store(void* rows, size_t stride) {
        tile_machine().store(tile, rows, static_cast<int64_t>(stride));
    }
    template <int sums, int a, int b>
    static void dot() {
        tile_machine().dot<int8_t>(sums, a, b);
    }
    template <int sums, int a, int b>
    static void dot_raised() {
        tile_machine().dot<uint8_t>(sums, a, b);
    }
};

}  // namespace
}  // namespace nextword

#endif
