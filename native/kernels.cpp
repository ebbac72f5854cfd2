#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <stdexcept>
#include <string>

#include "amx.h"
#include "system.h"

namespace nextword {

namespace {

#if defined(__x86_64__)
// CPUID itself is asked where compilers know the name only from different versions on.
bool runs_f16c() {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx >> 29 & 1) != 0;
}

bool runs_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && runs_f16c(); }

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

std::vector<const Kernels*> find_without_tiles() {
    std::vector<const Kernels*> found = {&portable_kernels()};
#if defined(__x86_64__)
    if (runs_avx2()) found.push_back(avx2_kernels());
    if (runs_avxvnni() && avxvnni_kernels() != nullptr) found.push_back(avxvnni_kernels());
    if (runs_avx512()) found.push_back(avx512_kernels());
#elif defined(__aarch64__)
    found.push_back(neon_kernels());
    if (has_dot_product()) found.push_back(dotprod_kernels());
    if (has_dot_product() && has_int8_matrices() && i8mm_kernels() != nullptr) found.push_back(i8mm_kernels());
#endif
    return found;
}

std::vector<const Kernels*> find_runnable() {
    std::vector<const Kernels*> found = kernels_without_tiles();
#if defined(__x86_64__)
    if (runs_avx512() && runs_amx()) found.push_back(amx_kernels());
#endif
    return found;
}

}  // namespace

const std::vector<const Kernels*>& kernels_without_tiles() {
    static const std::vector<const Kernels*> found = find_without_tiles();
    return found;
}

const std::vector<const Kernels*>& runnable_kernels() {
    static const std::vector<const Kernels*> found = find_runnable();
    return found;
}

const Kernels& choose_kernels(const char* isa) {
    const std::string wanted = isa;
    if (wanted.empty()) return *runnable_kernels().back();
    for (const Kernels* kernels : kernels_without_tiles()) {
        if (wanted == kernels->name) return *kernels;
    }
    std::string names;
    for (const Kernels* kernels : runnable_kernels()) {
        if (wanted == kernels->name) return *kernels;
        names += (names.empty() ? "" : ", ") + std::string(kernels->name);
    }
    throw std::invalid_argument("NEXTWORD_ISA = " + wanted + ": this processor runs " + names +
                                "; name one of them, or unset it");
}

}  // namespace nextword
