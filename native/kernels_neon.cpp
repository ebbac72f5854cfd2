// The kernels in NEON, which every aarch64 processor has.

#include "simd_neon.h"
// The vectors come first: the kernels are written over them.
#include "kernels_impl.h"
#include "training_impl.h"

namespace nextword {

const Kernels* neon_kernels() {
    static constexpr Kernels kernels = make_kernels("neon");
    return &kernels;
}

const TrainingKernelSet* neon_training_kernels() {
    static constexpr TrainingKernelSet kernels = make_training_kernels();
    return &kernels;
}

}  // namespace nextword
