#include "amx.h"

#if defined(__x86_64__)

#include <cpuid.h>

#include <cstdint>
#include <cstdio>

#include "system.h"

namespace nextword {

namespace {

bool processor_has_tiles() {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    constexpr unsigned tile_and_int8 = 1u << 24 | 1u << 25;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx & tile_and_int8) == tile_and_int8;
}

// True if the system saves tiles when it switches threads (XCR0). Call it only on processors with AVX.
bool system_saves_tiles() {
    uint32_t low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    constexpr uint32_t config_and_data = 1u << 17 | 1u << 18;
    return (low & config_and_data) == config_and_data;
}

bool try_tiles() {
    if (amx_kernels() == nullptr || !processor_has_tiles() || !system_saves_tiles() || !permits_tiles()) {
        return false;
    }
    if (amx_multiplies()) return true;
    std::fputs("nextword: the AMX tiles of this processor multiply wrongly; AVX-512 is used instead\n", stderr);
    return false;
}

}  // namespace

bool runs_amx() {
    static const bool runs = try_tiles();
    return runs;
}

}  // namespace nextword

#else

bool nextword::runs_amx() { return false; }

#endif
