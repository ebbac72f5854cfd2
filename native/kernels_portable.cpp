// The kernels in plain C++.

#include "simd_portable.h"
// The vectors come first: the kernels are written over them.
#include "kernels_impl.h"
#include "training_impl.h"

namespace nextword {

const Kernels& portable_kernels() {
    static constexpr Kernels kernels = make_kernels("portable");
    return kernels;
}

const TrainingKernelSet& portable_training_kernels() {
    static constexpr TrainingKernelSet kernels = make_training_kernels();
    return kernels;
}

}  // namespace nextword
