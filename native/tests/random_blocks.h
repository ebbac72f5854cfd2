// Rows of blocks of GGUF files in which every byte is random.

#ifndef NEXTWORD_TESTS_RANDOM_BLOCKS_H
#define NEXTWORD_TESTS_RANDOM_BLOCKS_H

#include <vector>

#include "blocks.h"
#include "check.h"
#include "half.h"

namespace nextword {

constexpr Encoding kBlockEncodings[] = {Encoding::Q8_0, Encoding::Q4_0,   Encoding::Q4_1, Encoding::Q5_0,
                                        Encoding::Q5_1, Encoding::IQ4_NL, Encoding::Q2_K, Encoding::Q3_K,
                                        Encoding::Q4_K, Encoding::Q5_K,   Encoding::Q6_K, Encoding::IQ4_XS};

// Position of a block's first fp16 number, and how many there are.
inline std::pair<int, int> halves_of(Encoding encoding) {
    switch (encoding) {
        case Encoding::Q4_1:
        case Encoding::Q5_1:
        case Encoding::Q4_K:
        case Encoding::Q5_K: return {0, 2};
        case Encoding::Q2_K: return {80, 2};
        case Encoding::Q3_K: return {108, 1};
        case Encoding::Q6_K: return {208, 1};
        default: return {0, 1};
    }
}

// fp16 numbers are within `largest`.
inline std::vector<uint8_t> random_blocks(Random& random, Encoding encoding, int rows, int columns, float largest) {
    const auto [values, bytes] = block_size(encoding);
    std::vector<uint8_t> blocks(static_cast<size_t>(rows) * columns / values * bytes);
    for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(random.next());
    const auto [first, count] = halves_of(encoding);
    for (size_t at = 0; at < blocks.size(); at += bytes) {
        for (int i = 0; i < count; ++i) store_half(&blocks[at + first + i * 2], to_fp16(random.number() * largest));
    }
    return blocks;
}

}  // namespace nextword

#endif
