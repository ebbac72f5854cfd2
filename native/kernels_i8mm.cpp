// The kernels in NEON with the dot products of FEAT_DotProd and FEAT_I8MM, and the products of matrices of the latter.

#include "simd_neon.h"
// The vectors come first: the kernels are written over them.
#include "kernels_impl.h"

namespace nextword {

const Kernels* i8mm_kernels() {
    static constexpr Kernels kernels = make_kernels("i8mm");
    return &kernels;
}

}  // namespace nextword
