// Vectors of 16 numbers in plain C++: the reference for the other instruction sets.

#ifndef NEXTWORD_SIMD_PORTABLE_H
#define NEXTWORD_SIMD_PORTABLE_H

#include <cmath>
#include <cstdint>
#include <cstring>

#include "half.h"

namespace nextword {
namespace {

struct Simd {
    static constexpr int kTokens = 2;  // tokens that a matrix kernel holds in registers: more would compile for minutes
    static constexpr int kFloatTokens = 2;    // of a tile, where weights are floats
    static constexpr int kBytesAhead = 8192;  // from the weights that are multiplied to those that are prefetched
    static constexpr int kHalvesAtOnce = 2;
    static constexpr bool kAddsPairs = false;
    static constexpr bool kMultipliesWords = false;
    static constexpr bool kMultipliesOctets = false;
    static constexpr bool unpacking_costs() { return true; }

    struct F {
        float at[16];
    };
    struct I {
        int32_t at[16];
    };
    struct Bytes {
        uint8_t at[64];
    };
    struct Quad {
        int8_t at[4];
    };
    struct Sums {
        double at[16];
    };

    template <class Op>
    static F each(Op op) {
        F result;
        for (int i = 0; i < 16; ++i) result.at[i] = op(i);
        return result;
    }

    static F set(float value) {
        return each([&](int) { return value; });
    }
    static F load(const float* from) {
        return each([&](int i) { return from[i]; });
    }
    static F load_bf16(const uint16_t* from) {
        return each([&](int i) { return from_bf16(from[i]); });
    }
    static F load_fp16(const uint16_t* from) {
        return each([&](int i) { return from_fp16(from[i]); });
    }
    static uint16_t to_fp16(float value) { return nextword::to_fp16(value); }
    static void store(float* to, F a) { std::memcpy(to, a.at, sizeof a.at); }
    static void store_bf16(uint16_t* to, F a) {
        for (int i = 0; i < 16; ++i) to[i] = to_bf16(a.at[i]);
    }

    static F add(F a, F b) {
        return each([&](int i) { return a.at[i] + b.at[i]; });
    }
    static F sub(F a, F b) {
        return each([&](int i) { return a.at[i] - b.at[i]; });
    }
    static F mul(F a, F b) {
        return each([&](int i) { return a.at[i] * b.at[i]; });
    }
    static F div(F a, F b) {
        return each([&](int i) { return a.at[i] / b.at[i]; });
    }
    static F fma(F a, F b, F c) {
        return each([&](int i) { return __builtin_fmaf(a.at[i], b.at[i], c.at[i]); });
    }
    static F max(F a, F b) {
        return each([&](int i) { return a.at[i] > b.at[i] ? a.at[i] : b.at[i]; });
    }
    static F min(F a, F b) {
        return each([&](int i) { return a.at[i] < b.at[i] ? a.at[i] : b.at[i]; });
    }
    static F abs(F a) {
        return each([&](int i) { return std::fabs(a.at[i]); });
    }
    // b with the sign of a.
    static F copysign(F b, F a) {
        return each([&](int i) { return std::copysign(b.at[i], a.at[i]); });
    }
    // value where x >= bound, else 0.
    static F keep_from(F x, F bound, F value) {
        return each([&](int i) { return x.at[i] >= bound.at[i] ? value.at[i] : 0.0f; });
    }
    // The same, but `value` where x is NaN.
    static F clear_below(F x, F bound, F value) {
        return each([&](int i) { return x.at[i] < bound.at[i] ? 0.0f : value.at[i]; });
    }
    static F round(F a) {
        return each([&](int i) { return std::nearbyint(a.at[i]); });
    }
    // 2^n for whole n from -126 to 127, 0 for -127, and some number for NaN.
    static F pow2(F n) {
        return each([&](int i) {
            const int32_t exponent = n.at[i] == n.at[i] ? static_cast<int32_t>(n.at[i]) : 0;
            return float_of(static_cast<uint32_t>(exponent + 127) << 23);
        });
    }

    static F to_float(I a) {
        return each([&](int i) { return static_cast<float>(a.at[i]); });
    }
    static I set(int32_t value) {
        I result;
        for (int i = 0; i < 16; ++i) result.at[i] = value;
        return result;
    }
    template <int bits>
    static I shift_left(I a) {
        for (int32_t& lane : a.at) lane *= 1 << bits;
        return a;
    }
    static I add(I a, I b) {
        for (int i = 0; i < 16; ++i) a.at[i] += b.at[i];
        return a;
    }
    // Lanes must not be negative; of others, the lowest bits are right.
    template <int bits>
    static I shift_right(I a) {
        for (int32_t& lane : a.at) lane >>= bits;
        return a;
    }
    template <int bits>
    static I low_bits(I a) {
        for (int32_t& lane : a.at) lane &= (1 << bits) - 1;
        return a;
    }
    static I load_int(const int32_t* from) {
        I result;
        std::memcpy(result.at, from, sizeof result.at);
        return result;
    }
    static I load_int8(const uint8_t* from) {
        I result;
        for (int i = 0; i < 16; ++i) result.at[i] = static_cast<int8_t>(from[i]);
        return result;
    }
    // To nearest, ties to even; some number for NaN.
    static I to_int(F a) {
        I result;
        for (int i = 0; i < 16; ++i) {
            result.at[i] = a.at[i] == a.at[i] ? static_cast<int32_t>(std::nearbyint(a.at[i])) : 0;
        }
        return result;
    }
    static void store_int8(int8_t* to, I a) {
        for (int i = 0; i < 16; ++i) to[i] = static_cast<int8_t>(a.at[i]);
    }
    static int32_t sum_lanes(I a) {
        int32_t sum = 0;
        for (const int32_t lane : a.at) sum += lane;
        return sum;
    }
    // Each half to the other, until one is left.
    static float sum_lanes(F a) {
        for (int width = 8; width > 0; width /= 2) {
            for (int i = 0; i < width; ++i) a.at[i] += a.at[i + width];
        }
        return a.at[0];
    }
    static float max_lanes(F a) {
        float largest = a.at[0];
        for (int i = 1; i < 16; ++i) largest = a.at[i] > largest ? a.at[i] : largest;
        return largest;
    }
    static Sums add(Sums sums, F a) {
        for (int i = 0; i < 16; ++i) sums.at[i] += static_cast<double>(a.at[i]);
        return sums;
    }
    // In any order: for sums that are exact.
    static double sum_lanes(Sums sums) {
        double sum = 0.0;
        for (const double lane : sums.at) sum += lane;
        return sum;
    }
    // Of the positions from `first` on, those where low <= keys <= high; returns how many. Writes up to 16.
    static int store_positions(int32_t* to, int32_t first, F keys, F low, F high) {
        int count = 0;
        for (int i = 0; i < 16; ++i) {
            to[count] = first + i;
            count += static_cast<int>(keys.at[i] >= low.at[i]) & static_cast<int>(keys.at[i] <= high.at[i]);
        }
        return count;
    }

    static Bytes load_bytes(const uint8_t* from) {
        Bytes result;
        std::memcpy(result.at, from, 64);
        return result;
    }
    static void store_bytes(uint8_t* to, Bytes a) { std::memcpy(to, a.at, 64); }
    // These are not inlined: the kernels that consist of them would take minutes to compile.

    // Some bits of each byte, from bit `from` on, moved to bit `to`; the others are 0.
    template <int bits, int from, int to>
    [[gnu::noinline]] static Bytes field(Bytes a) {
        for (uint8_t& byte : a.at) byte = static_cast<uint8_t>((byte >> from & ((1 << bits) - 1)) << to);
        return a;
    }
    [[gnu::noinline]] static Bytes either(Bytes a, Bytes b) {
        for (int i = 0; i < 64; ++i) a.at[i] |= b.at[i];
        return a;
    }
    // The values of a table of 16 at places from 0 to 15.
    [[gnu::noinline]] static Bytes look_up(Bytes places, const uint8_t* table) {
        for (uint8_t& byte : places.at) byte = table[byte];
        return places;
    }
    // The columns of a group of some tokens, and four of a token for all lanes.
    template <int tokens, int stride>
    struct Columns {
        const int8_t* from;
    };
    template <int tokens, int stride>
    static Columns<tokens, stride> load_columns(const int8_t* from) {
        return {from};
    }
    template <int quad, int tokens, int stride>
    static Quad spread(const Columns<tokens, stride>& x, int token) {
        Quad result;
        std::memcpy(result.at, x.from + token * stride + quad * 4, 4);
        return result;
    }

    // acc + the products of four bytes of a lane with the quad; the bytes are 0 to 127.
    [[gnu::noinline]] static I dot_nibbles(I acc, Bytes w, Quad x) {
        for (int i = 0; i < 16; ++i) {
            for (int j = 0; j < 4; ++j) acc.at[i] += w.at[4 * i + j] * x.at[j];
        }
        return acc;
    }
    // The same for bytes that hold a value + 128; what the offset adds to a whole sum is taken off by `start_q8`.
    static I dot_bytes(I acc, Bytes w, Quad x) { return dot_nibbles(acc, w, x); }
    // acc + the products of four signed bytes of a lane, -127 to 127, with a quad of weights, 0 to 127.
    static I dot_weights(I acc, Bytes values, Quad weights) {
        for (int i = 0; i < 16; ++i) {
            for (int j = 0; j < 4; ++j) acc.at[i] += static_cast<int8_t>(values.at[4 * i + j]) * weights.at[j];
        }
        return acc;
    }
    static int32_t start_q8(int32_t sum_of_x) { return -128 * sum_of_x; }
};

}  // namespace
}  // namespace nextword

#endif
