// The kernels that use matrix tiles, with the portable vectors and tiles in plain C++: they run on every processor.

#include "tile_machine.h"
#include "simd_portable.h"
// The vectors come first: the kernels are written over them.
#include "kernels_impl.h"
#include "tiles_impl.h"

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
        tile_machine().dot(sums, a, b);
    }
};

}  // namespace

const Kernels* emulated_tile_kernels() {
    static constexpr Kernels kernels = with_tiles<EmulatedTiles>(make_kernels("emulated tiles"));
    return &kernels;
}

bool emulated_tiles_multiply() { return tiles_multiply<EmulatedTiles>() && !tile_machine().is_configured(); }

}  // namespace nextword
