// Selection over a vocabulary without sorting it: the k largest, the smallest set with a given mass, the draw.
//
// Keys are finite; larger ones come first, of equal ones the lower position. Masses are whole numbers >= 0 that add up
// to less than 2^53, so their sums are exact in any order, and what is found is what sorting everything would find, on
// every processor. Positions are returned ascending. Thread-safe: nothing is kept from call to call.

#ifndef NEXTWORD_SELECT_H
#define NEXTWORD_SELECT_H

#include <cstdint>
#include <vector>

#include "kernels.h"

namespace nextword {

// The `k` largest keys, 0 <= k.
std::vector<int64_t> largest(const Kernels& kernels, const float* keys, int size, int64_t k);

// The smallest set of largest keys whose mass is at least `wanted`: 0 < wanted <= total, the mass of all. Size is not 0.
// Throws std::invalid_argument if they weigh less.
std::vector<int64_t> smallest_set(const Kernels& kernels, const float* keys, const float* masses, int size, double wanted,
                                  double total);

// The first position at which the masses, added from the first on, exceed `target`; the last one if they never do.
int64_t position_at(const Kernels& kernels, const float* masses, int size, int64_t target);

}  // namespace nextword

#endif
