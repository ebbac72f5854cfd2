// Philox 4x64-10 (Salmon et al. 2011): random numbers that depend on a key and a counter, and on nothing else.

#ifndef NEXTWORD_PHILOX_H
#define NEXTWORD_PHILOX_H

#include <array>
#include <cstdint>

namespace nextword {

// High and low half of the product.
inline std::array<uint64_t, 2> multiply_whole(uint64_t a, uint64_t b) {
    const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
    return {static_cast<uint64_t>(product >> 64), static_cast<uint64_t>(product)};
}

inline std::array<uint64_t, 4> philox(std::array<uint64_t, 4> counter, std::array<uint64_t, 2> key) {
    for (int round = 0; round < 10; ++round) {
        const auto [high0, low0] = multiply_whole(0xd2e7470ee14c6c93u, counter[0]);
        const auto [high1, low1] = multiply_whole(0xca5a826395121157u, counter[2]);
        counter = {high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0};
        key = {key[0] + 0x9e3779b97f4a7c15u, key[1] + 0xbb67ae8584caa73bu};
    }
    return counter;
}

}  // namespace nextword

#endif
