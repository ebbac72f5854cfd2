// The kernels in AVX2 with AVX-VNNI, for processors that have it without AVX-512.

#include "kernels.h"

// An old compiler does not know it. The tests build this file with the same instruction of AVX-512, which has the same
// name.
#if defined(__AVXVNNI__) || (defined(__AVX512VNNI__) && defined(__AVX512VL__))

#include "simd_avxvnni.h"

namespace nextword {
namespace {
using Simd = AvxVnni;
}
}  // namespace nextword

// The vectors come first: the kernels are written over them.
#include "kernels_impl.h"

namespace nextword {

const Kernels* avxvnni_kernels() {
    static constexpr Kernels kernels = make_kernels("avxvnni");
    return &kernels;
}

}  // namespace nextword

#else

const nextword::Kernels* nextword::avxvnni_kernels() { return nullptr; }

#endif
