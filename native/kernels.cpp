#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <stdexcept>
#include <string>
#include <vector>

#include "amx.h"

namespace nextword {

namespace {

#if defined(__x86_64__)
bool runs_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

// CPUID itself is asked, since compilers know the name only from different versions on.
bool runs_avxvnni() {
    unsigned largest_subleaf = 0, eax = 0, ebx = 0, ecx = 0, edx = 0;
    return runs_avx2() && __get_cpuid_count(7, 0, &largest_subleaf, &ebx, &ecx, &edx) && largest_subleaf >= 1 &&
           __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 4 & 1) != 0;
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
    if (runs_avxvnni() && avxvnni_kernels() != nullptr) runnable.push_back(avxvnni_kernels());
    if (runs_avx512()) runnable.push_back(avx512_kernels());
    if (runs_avx512() && runs_amx()) runnable.push_back(amx_kernels());
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
