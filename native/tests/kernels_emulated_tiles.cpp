// The kernels that use matrix tiles, with the portable vectors and tiles in plain C++: they run on every processor.

#include "emulated_tiles.h"
#include "simd_portable.h"
// The vectors come first: the kernels are written over them.
#include "kernels_impl.h"
#include "tiles_impl.h"

namespace nextword {

const Kernels* emulated_tile_kernels() {
    static constexpr Kernels kernels = with_tiles<EmulatedTiles>(make_kernels("emulated tiles"));
    return &kernels;
}

bool emulated_tiles_multiply() { return tiles_multiply<EmulatedTiles>() && !tile_machine().is_configured(); }

}  // namespace nextword
