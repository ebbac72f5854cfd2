// Selection over a vocabulary without sorting it: the k largest, the smallest set with a given weight, sampling.
//
// Keys are finite; larger ones come first, of equal ones the lower position. Weights are whole numbers >= 0 that add up
// to less than 2^53, so their sums are exact in any order, and the results equal those of sorting, on every processor.
// Positions are returned ascending. Thread-safe: nothing is kept from call to call.

#ifndef NEXTWORD_SELECT_H
#define NEXTWORD_SELECT_H

#include <cstdint>
#include <vector>

#include "kernels.h"

namespace nextword {

// The `k` largest keys, 0 <= k.
std::vector<int64_t> largest(const Kernels& kernels, const float* keys, int size, int64_t k);

// The smallest set of largest keys whose weight is at least `wanted`: 0 < wanted <= total, the weight of all. Size is
// not 0. Throws std::invalid_argument if they weigh less.
std::vector<int64_t> smallest_set(const Kernels& kernels, const float* keys, const float* weights, int size,
                                  double wanted, double total);

// The largest logit's position, of equal ones the lowest. -1 if a logit is NaN or +inf, or all are -inf.
int64_t argmax(const Kernels& kernels, const float* logits, int size);

// A temperature to divide by (as a float, more than 0), then the k largest (0: all), then the smallest set with this
// share of their weight (1: all).
struct Truncation {
    float divisor;
    int64_t top_k;
    double top_p;
};

// As many units are 1 as let the weights of a row of this size add up to less than 2^53; the binary logarithm of their
// number, as decoding/softmax_weights.py has it.
int unit_bits(int size);

// The position on which `number`, uniform over 0 .. 2^53 - 1, falls when the weights of the remaining tokens are added
// from the first on: decoding/distribution.py in one call. -1 if a logit is NaN or +inf, or all are -inf.
int64_t draw(const Kernels& kernels, const float* logits, int size, Truncation truncation, uint64_t number);

// The first position at which the weights, added from the first on, exceed `target`; the last one if they never do.
int64_t position_at(const Kernels& kernels, const float* weights, int size, int64_t target);

}  // namespace nextword

#endif
