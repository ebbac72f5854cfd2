#include "kernels.h"

#include <stdexcept>
#include <string>
#include <vector>

namespace nextword {

namespace {

#if defined(__x86_64__)
bool runs_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

bool runs_avx512() {
    return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif

}  // namespace

const Kernels& choose_kernels(const char* isa) {
    std::vector<const Kernels*> runnable = {&portable_kernels()};
#if defined(__x86_64__)
    if (runs_avx2()) runnable.push_back(avx2_kernels());
    if (runs_avx512()) runnable.push_back(avx512_kernels());
#endif
    const std::string wanted = isa;
    if (wanted.empty()) return *runnable.back();
    std::string names;
    for (const Kernels* kernels : runnable) {
        if (wanted == kernels->name) return *kernels;
        names += (names.empty() ? "" : ", ") + std::string(kernels->name);
    }
    throw std::invalid_argument("NEXTWORD_ISA = " + wanted + ": this processor runs " + names +
                                "; name one of them, or unset it");
}

}  // namespace nextword
