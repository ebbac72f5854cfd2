// Training's kernels in AVX-512 with products of pairs of bf16.

#include "training.h"

// An old compiler does not know them.
#if defined(__AVX512BF16__)

#include "simd_avx512.h"
// The vectors come first: the kernels are written over them.
#include "training_impl.h"

namespace nextword {

const TrainingKernelSet* avx512bf16_training_kernels() {
    static constexpr TrainingKernelSet kernels = make_training_kernels();
    return &kernels;
}

}  // namespace nextword

#else

const nextword::TrainingKernelSet* nextword::avx512bf16_training_kernels() { return nullptr; }

#endif
