// The probability and rank of a given token under a row of logits: all that evaluation needs of a row.
//
// Exponentials are those of select.h, whole numbers that add up exactly; what follows from them is in double.

#ifndef NEXTWORD_SCORE_H
#define NEXTWORD_SCORE_H

#include <cstdint>

#include "kernels.h"

namespace nextword {

struct TokenScore {
    double nats;      // -ln p(token)
    double entropy;   // of the whole row, in nats
    int32_t rank;     // 1 for the most probable token; of equal ones the lower id comes first
    int32_t largest;  // the most probable token
};

// `weights` is room for `size` floats. All NaN where a logit is NaN or +inf, or all are -inf.
TokenScore score_token(const Kernels& kernels, const float* logits, int size, int32_t token, float* weights);

}  // namespace nextword

#endif
