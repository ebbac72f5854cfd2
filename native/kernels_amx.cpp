// The kernels in AVX-512 with products of many tokens in AMX's tiles.

#include "amx.h"

// Other processors do not have AMX, and an old compiler does not know it; clang 14 has another name for it.
#if defined(__AMX_INT8__) || defined(__AMXINT8__)

#include "simd_avx512.h"
// The vectors come first: the kernels are written over them.
#include "kernels_impl.h"
#include "tiles_amx.h"
#include "tiles_impl.h"

namespace nextword {

bool amx_multiplies() { return tiles_multiply<AmxTiles>(); }

const Kernels* amx_kernels() {
    static constexpr Kernels kernels = with_tiles<AmxTiles>(make_kernels("amx"));
    return &kernels;
}

}  // namespace nextword

#else

bool nextword::amx_multiplies() { return false; }
const nextword::Kernels* nextword::amx_kernels() { return nullptr; }

#endif
