// The instruction sets that a test compares.

#ifndef NEXTWORD_TESTS_ALL_KERNELS_H
#define NEXTWORD_TESTS_ALL_KERNELS_H

#include <cstdio>
#include <stdexcept>
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

// Those with matrix tiles, which are plain C++ here.
const Kernels* emulated_tile_kernels();

// Those of this processor, the portable ones first; the first call says which are left out.
inline const std::vector<const Kernels*>& all_kernels() {
    static const std::vector<const Kernels*> kernels = [] {
        std::vector<const Kernels*> found;
        for (const char* isa : {"portable", "avx2", "avxvnni", "avx512", "amx"}) {
            try {
                found.push_back(&choose_kernels(isa));
#if defined(__x86_64__)
                if (isa == std::string("avx512")) {
                    found.push_back(avxvnni_by_avx512_kernels());
                    if (trap_tiles()) found.push_back(amx_kernels());
                }
#endif
            } catch (const std::invalid_argument&) {
                std::printf("this processor does not run %s\n", isa);
            }
        }
        found.push_back(emulated_tile_kernels());
        return found;
    }();
    return kernels;
}

}  // namespace nextword

#endif
