// The instruction sets that a test compares.

#ifndef NEXTWORD_TESTS_ALL_KERNELS_H
#define NEXTWORD_TESTS_ALL_KERNELS_H

#include <cstdio>
#include <stdexcept>
#include <vector>

#include "kernels.h"

namespace nextword {

// Those of this processor, the portable ones first; the first call says which are left out.
inline const std::vector<const Kernels*>& all_kernels() {
    static const std::vector<const Kernels*> kernels = [] {
        std::vector<const Kernels*> found;
        for (const char* isa : {"portable", "avx2", "avx512"}) {
            try {
                found.push_back(&choose_kernels(isa));
            } catch (const std::invalid_argument&) {
                std::printf("this processor does not run %s\n", isa);
            }
        }
        return found;
    }();
    return kernels;
}

}  // namespace nextword

#endif
