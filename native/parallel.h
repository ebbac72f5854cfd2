// Work shared among the threads of the OpenMP runtime that PyTorch has loaded. Threads of our own would compete for the
// cores with those, which spin for a while after each product.

#ifndef NEXTWORD_PARALLEL_H
#define NEXTWORD_PARALLEL_H

#include <cstdint>

namespace nextword {

// Units from first up to last, exclusive.
using SharedWork = void (*)(const void* work, int64_t first, int64_t last);

// Call work on parts that make up 0 to num_units, of at least `least` units; by the caller alone where the process has
// no OpenMP. The result of the work must not depend on the parts. The first exception of a part is thrown again once
// all have ended.
void share_out(int64_t num_units, int64_t least, SharedWork call, const void* work);

template <class Work>
void share_out(int64_t num_units, int64_t least, const Work& work) {
    share_out(
        num_units, least,
        [](const void* held, int64_t first, int64_t last) { (*static_cast<const Work*>(held))(first, last); }, &work);
}

}  // namespace nextword

#endif
