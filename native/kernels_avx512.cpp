// The kernels in AVX-512 (F, BW, DQ, VL, VNNI).

#include "simd_avx512.h"
// The vectors come first: the kernels are written over them.
#include "kernels_impl.h"
#include "training_impl.h"

namespace nextword {

const Kernels* avx512_kernels() {
    static constexpr Kernels kernels = make_kernels("avx512");
    return &kernels;
}

const TrainingKernelSet* avx512_training_kernels() {
    static constexpr TrainingKernelSet kernels = make_training_kernels();
    return &kernels;
}

}  // namespace nextword
