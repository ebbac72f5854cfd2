// Training's kernels in AVX-512 with products of pairs of bf16, emulated: they run on processors with AVX2.

#include "emulated_avx512.h"
// The vectors and the kernels test this macro for products of bf16.
#define __AVX512BF16__ 1
#include "simd_avx512.h"
// The vectors come first: the kernels are written over them.
#include "training_impl.h"

namespace nextword {

const TrainingKernelSet* emulated_avx512bf16_training_kernels() {
    static constexpr TrainingKernelSet kernels = make_training_kernels();
    return &kernels;
}

}  // namespace nextword
