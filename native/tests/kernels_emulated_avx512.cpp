// The kernels in AVX-512, without tiles and with them, emulated: they run on processors with AVX2.

#include "emulated_avx512.h"
#include "emulated_tiles.h"
#include "simd_avx512.h"
// The vectors come first: the kernels are written over them.
#include "kernels_impl.h"
#include "tiles_impl.h"
#include "training_impl.h"

namespace nextword {

const Kernels* emulated_avx512_kernels() {
    static constexpr Kernels kernels = make_kernels("emulated avx512");
    return &kernels;
}

const Kernels* emulated_amx_kernels() {
    static constexpr Kernels kernels = with_tiles<EmulatedTiles>(make_kernels("emulated amx"));
    return &kernels;
}

const TrainingKernelSet* emulated_avx512_training_kernels() {
    static constexpr TrainingKernelSet kernels = make_training_kernels();
    return &kernels;
}

}  // namespace nextword
