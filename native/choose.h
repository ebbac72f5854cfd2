// Choosing the next tokens of many sequences: their rows of logits are shared out to the threads.

#ifndef NEXTWORD_CHOOSE_H
#define NEXTWORD_CHOOSE_H

#include <cstdint>
#include <vector>

#include "kernels.h"
#include "select.h"
#include "threads.h"

namespace nextword {

// The key of a token's random number.
struct Draw {
    uint64_t seed, sample_index, position;
};

// The number of decoding/random_stream.py, uniform over 0 .. 2^53 - 1.
uint64_t random_number(const Draw& draw);

// A row of logits, and how a token is chosen from it: a divisor of 0 takes the largest, as `argmax`; else as `draw`.
struct Choice {
    const float* logits;
    int size;
    Truncation truncation;
    Draw draw;
};

// The token of each row, the same whatever stands beside it. -1 where the row is no distribution, or memory ran out.
std::vector<int64_t> choose(const Kernels& kernels, ThreadPool& threads, const std::vector<Choice>& choices);

}  // namespace nextword

#endif
