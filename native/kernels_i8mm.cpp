// The kernels in NEON with the dot products of FEAT_DotProd and FEAT_I8MM, and the products of matrices of the latter.

#include "kernels.h"

// An old compiler does not know it.
#if defined(__ARM_FEATURE_MATMUL_INT8)

#include "simd_neon.h"
// The vectors come first: the kernels are written over them.
#include "kernels_impl.h"

namespace nextword {

const Kernels* i8mm_kernels() {
    static constexpr Kernels kernels = make_kernels("i8mm");
    return &kernels;
}

}  // namespace nextword

#else

const nextword::Kernels* nextword::i8mm_kernels() { return nullptr; }

#endif
