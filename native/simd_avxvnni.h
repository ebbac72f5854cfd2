// The vectors of AVX2 with the integer products of AVX-VNNI, which take one instruction and do not saturate.

#ifndef NEXTWORD_SIMD_AVXVNNI_H
#define NEXTWORD_SIMD_AVXVNNI_H

#include "simd_avx2.h"

namespace nextword {
namespace {

struct AvxVnni : Avx2 {
    static constexpr bool kAddsPairs = false;
    static constexpr bool kMultipliesWords = false;
    static I dot_nibbles(I acc, Bytes w, Quad x) {
        return {_mm256_dpbusd_epi32(acc.low, w.low, x), _mm256_dpbusd_epi32(acc.high, w.high, x)};
    }
    static I dot_bytes(I acc, Bytes w, Quad x) { return dot_nibbles(acc, w, x); }
    static I dot_weights(I acc, Bytes values, Quad weights) {
        return {_mm256_dpbusd_epi32(acc.low, weights, values.low), _mm256_dpbusd_epi32(acc.high, weights, values.high)};
    }
    static int32_t start_q8(int32_t sum_of_x) { return -128 * sum_of_x; }
};

}  // namespace
}  // namespace nextword

#endif
