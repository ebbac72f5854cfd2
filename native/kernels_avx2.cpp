// The kernels in AVX2 (with FMA and F16C).

#include "simd_avx2.h"

namespace nextword {
namespace {
using Simd = Avx2;
}
}  // namespace nextword

// The vectors come first: the kernels are written over them.
#include "kernels_impl.h"
#include "training_impl.h"

namespace nextword {

const Kernels* avx2_kernels() {
    static constexpr Kernels kernels = make_kernels("avx2");
    return &kernels;
}

const TrainingKernelSet* avx2_training_kernels() {
    static constexpr TrainingKernelSet kernels = make_training_kernels();
    return &kernels;
}

}  // namespace nextword
