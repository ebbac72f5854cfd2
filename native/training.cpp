#include "training.h"

#include <string>

namespace nextword {

const TrainingKernelSet& choose_training_kernels() {
    static const TrainingKernelSet& best = [&]() -> const TrainingKernelSet& {
#if defined(__x86_64__)
        const std::string name = choose_kernels("").name;
        if (name == "avx512" || name == "amx") return *avx512_training_kernels();
        if (name == "avx2" || name == "avxvnni") return *avx2_training_kernels();
        return portable_training_kernels();
#elif defined(__aarch64__)
        return *neon_training_kernels();
#else
        return portable_training_kernels();
#endif
    }();
    return best;
}

}  // namespace nextword
