// The kernels in plain C++.

#include "simd_portable.h"
// The vectors come first: the kernels are written over them.
#include "kernels_impl.h"

namespace nextword {

const Kernels& portable_kernels() {
    static constexpr Kernels kernels = make_kernels("portable");
    return kernels;
}

}  // namespace nextword
