// The kernels in AVX2 with AVX-VNNI, its instruction emulated: they run on processors with AVX2.

#include "emulated_avx512.h"
#include "simd_avxvnni.h"

namespace nextword {
namespace {
using Simd = AvxVnni;
}
}  // namespace nextword

// The vectors come first: the kernels are written over them.
#include "kernels_impl.h"

namespace nextword {

const Kernels* emulated_avxvnni_kernels() {
    static constexpr Kernels kernels = make_kernels("emulated avxvnni");
    return &kernels;
}

}  // namespace nextword
