#include "kernels.h"

#include <stdexcept>
#include <string>

namespace nextword {

namespace {

#if defined(__x86_64__)
bool runs_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

bool runs_avx512() {
    return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}
#endif

}  // namespace

const Kernels& choose_kernels(const char* isa) {
    const std::string wanted = isa;
    const Kernels* best = &portable_kernels();
    if (wanted == best->name) return *best;
#if defined(__x86_64__)
    if (runs_avx2()) best = avx2_kernels();
    if (wanted == best->name) return *best;
    if (runs_avx512()) best = avx512_kernels();
#endif
    if (!wanted.empty() && wanted != best->name) {
        throw std::invalid_argument("NEXTWORD_ISA = " + wanted + ": this processor runs " + best->name +
                                    "; unset it, or name portable, avx2 or avx512");
    }
    return *best;
}

}  // namespace nextword
