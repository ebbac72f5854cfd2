// The instruction sets that a test compares.

#ifndef NEXTWORD_TESTS_ALL_KERNELS_H
#define NEXTWORD_TESTS_ALL_KERNELS_H

#include <cstdio>
#include <string>
#include <vector>

#include "amx.h"
#include "kernels.h"
#include "tile_trap.h"

namespace nextword {

#if defined(__x86_64__)
// AVX-VNNI's, built with the instruction of AVX-512 that is equal.
const Kernels* avxvnni_by_avx512_kernels();
#endif

#if defined(NEXTWORD_EMULATES_AVX512)
// Those that many processors lack, in AVX2; AMX's with tiles in plain C++.
const Kernels* emulated_avxvnni_kernels();
const Kernels* emulated_avx512_kernels();
const Kernels* emulated_amx_kernels();
#endif

// Those with matrix tiles, which are plain C++ here.
const Kernels* emulated_tile_kernels();

// Those of this processor, the portable ones first; the first call names them.
inline const std::vector<const Kernels*>& all_kernels() {
    static const std::vector<const Kernels*> kernels = [] {
        std::vector<const Kernels*> found = runnable_kernels();
#if defined(NEXTWORD_EMULATES_AVX512)
        if (runs_kernels("avx2") && !runs_kernels("avx512")) {
            if (!runs_kernels("avxvnni")) found.push_back(emulated_avxvnni_kernels());
            found.push_back(emulated_avx512_kernels());
            found.push_back(emulated_amx_kernels());
        }
#endif
#if defined(__x86_64__)
        if (runs_kernels("avx512")) found.push_back(avxvnni_by_avx512_kernels());
#if !defined(__SANITIZE_THREAD__)
        if (trap_tiles()) found.push_back(amx_kernels());
#endif
#endif
        found.push_back(emulated_tile_kernels());
        std::printf("instruction sets:");
        for (const Kernels* each : found) std::printf(" %s", each->name);
        std::printf("\n");
        return found;
    }();
    return kernels;
}

}  // namespace nextword

#endif
