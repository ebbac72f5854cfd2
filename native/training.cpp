#include "training.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <string>

namespace nextword {

#if defined(__x86_64__)
bool runs_avx512bf16() {
    unsigned largest_subleaf = 0, eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid_count(7, 0, &largest_subleaf, &ebx, &ecx, &edx) && largest_subleaf >= 1 &&
           __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 5 & 1) != 0;
}

static const TrainingKernelSet& avx512_or_better() {
    const TrainingKernelSet* const better = runs_avx512bf16() ? avx512bf16_training_kernels() : nullptr;
    return better == nullptr ? *avx512_training_kernels() : *better;
}
#endif

const TrainingKernelSet& choose_training_kernels() {
    static const TrainingKernelSet& best = [&]() -> const TrainingKernelSet& {
#if defined(__x86_64__)
        const std::string name = kernels_without_tiles().back()->name;
        if (name == "avx512") return avx512_or_better();
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
