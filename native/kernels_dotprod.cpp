// The kernels in NEON with the dot products of FEAT_DotProd.

#include "simd_neon.h"
// The vectors come first: the kernels are written over them.
#include "kernels_impl.h"

namespace nextword {

const Kernels* dotprod_kernels() {
    static constexpr Kernels kernels = make_kernels("dotprod");
    return &kernels;
}

}  // namespace nextword
