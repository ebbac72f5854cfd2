#include "training.h"

#include <cstring>

namespace nextword {

const TrainingKernelSet& choose_training_kernels() {
    static const TrainingKernelSet& best = [&]() -> const TrainingKernelSet& {
#if defined(__x86_64__)
        const char* name = choose_kernels("").name;
        if (std::strcmp(name, "avx512") == 0) return *avx512_training_kernels();
        if (std::strcmp(name, "avx2") == 0) return *avx2_training_kernels();
#endif
        return portable_training_kernels();
    }();
    return best;
}

}  // namespace nextword
