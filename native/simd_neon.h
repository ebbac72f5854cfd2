// Vectors of 16 numbers as four NEON registers. The operations are those of simd_portable.h, with equal results. The
// products of bytes use the instructions that the including file is compiled for: SDOT, USDOT and USMMLA, where it may.

#ifndef NEXTWORD_SIMD_NEON_H
#define NEXTWORD_SIMD_NEON_H

#include <arm_neon.h>

#include <cstdint>

namespace nextword {
namespace {

struct Simd {
    static constexpr int kFloatTokens = 6;    // of a tile, where weights are floats
    static constexpr int kBytesAhead = 8192;  // from the weights that are multiplied to those that are prefetched
    static constexpr int kHalvesAtOnce = 1;
    static constexpr bool kMultipliesWords = false;
#if defined(__ARM_FEATURE_DOTPROD)
    static constexpr int kTokens = 4;
    static constexpr bool kAddsPairs = false;
#else
    static constexpr int kTokens = 2;  // sums of 16 bits take twice as many registers as those of 32
    static constexpr bool kAddsPairs = true;
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
    static constexpr bool kMultipliesOctets = true;
#else
    static constexpr bool kMultipliesOctets = false;
#endif
    static constexpr bool unpacking_costs() { return true; }

    struct F {
        float32x4_t at[4];
    };
    struct I {
        int32x4_t at[4];
    };
    struct Bytes {
        uint8x16_t at[4];
    };
    // One of the four quads of a register.
    template <int lane>
    struct Quad {
        int8x16_t four;
    };
    // The columns of a group of some tokens.
    template <int tokens, int stride>
    struct Columns {
        int8x16_t at[tokens][2];
    };
    struct Sums {
        float64x2_t at[8];
    };

    template <class Op>
    static F each(Op op) {
        return {op(0), op(1), op(2), op(3)};
    }
    template <class Op>
    static I each_int(Op op) {
        return {op(0), op(1), op(2), op(3)};
    }
    template <class Op>
    static Bytes each_bytes(Op op) {
        return {op(0), op(1), op(2), op(3)};
    }

    static F set(float value) {
        return each([&](int) { return vdupq_n_f32(value); });
    }
    static F load(const float* from) {
        return each([&](int i) { return vld1q_f32(from + 4 * i); });
    }
    static F load_bf16(const uint16_t* from) {
        const uint16x8_t low = vld1q_u16(from), high = vld1q_u16(from + 8), zero = vdupq_n_u16(0);
        return {vreinterpretq_f32_u16(vzip1q_u16(zero, low)), vreinterpretq_f32_u16(vzip2q_u16(zero, low)),
                vreinterpretq_f32_u16(vzip1q_u16(zero, high)), vreinterpretq_f32_u16(vzip2q_u16(zero, high))};
    }
    static F load_fp16(const uint16_t* from) {
        return each([&](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from + 4 * i))); });
    }
    static uint16_t to_fp16(float value) {
        return vget_lane_u16(vreinterpret_u16_f16(vcvt_f16_f32(vdupq_n_f32(value))), 0);
    }
    static void store(float* to, F a) {
        for (int i = 0; i < 4; ++i) vst1q_f32(to + 4 * i, a.at[i]);
    }
    static uint16x4_t rounded_bf16(float32x4_t a) {
        const uint32x4_t bits = vreinterpretq_u32_f32(a), odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
        const uint32x4_t up = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
        return vbsl_u16(vmovn_u32(vceqq_f32(a, a)), vshrn_n_u32(up, 16), vdup_n_u16(0x7fc0));
    }
    static void store_bf16(uint16_t* to, F a) {
        for (int i = 0; i < 4; ++i) vst1_u16(to + 4 * i, rounded_bf16(a.at[i]));
    }

    static F add(F a, F b) {
        return each([&](int i) { return vaddq_f32(a.at[i], b.at[i]); });
    }
    static F sub(F a, F b) {
        return each([&](int i) { return vsubq_f32(a.at[i], b.at[i]); });
    }
    static F mul(F a, F b) {
        return each([&](int i) { return vmulq_f32(a.at[i], b.at[i]); });
    }
    static F div(F a, F b) {
        return each([&](int i) { return vdivq_f32(a.at[i], b.at[i]); });
    }
    static F fma(F a, F b, F c) {
        return each([&](int i) { return vfmaq_f32(c.at[i], a.at[i], b.at[i]); });
    }
    // By comparison: the instructions for it choose otherwise between zeros of different signs, and for NaN.
    static F max(F a, F b) {
        return each([&](int i) { return vbslq_f32(vcgtq_f32(a.at[i], b.at[i]), a.at[i], b.at[i]); });
    }
    static F min(F a, F b) {
        return each([&](int i) { return vbslq_f32(vcltq_f32(a.at[i], b.at[i]), a.at[i], b.at[i]); });
    }
    static F abs(F a) {
        return each([&](int i) { return vabsq_f32(a.at[i]); });
    }
    static F copysign(F b, F a) {
        const uint32x4_t sign = vdupq_n_u32(0x80000000u);
        return each([&](int i) { return vbslq_f32(sign, a.at[i], b.at[i]); });
    }
    static F keep_from(F x, F bound, F value) {
        return each([&](int i) {
            return vreinterpretq_f32_u32(
                vandq_u32(vcgeq_f32(x.at[i], bound.at[i]), vreinterpretq_u32_f32(value.at[i])));
        });
    }
    static F clear_below(F x, F bound, F value) {
        return each([&](int i) {
            return vreinterpretq_f32_u32(
                vbicq_u32(vreinterpretq_u32_f32(value.at[i]), vcltq_f32(x.at[i], bound.at[i])));
        });
    }
    static F round(F a) {
        return each([&](int i) { return vrndnq_f32(a.at[i]); });
    }
    static F pow2(F n) {
        return each([&](int i) {
            const int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(n.at[i]), vdupq_n_s32(127));
            return vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23));
        });
    }

    static F to_float(I a) {
        return each([&](int i) { return vcvtq_f32_s32(a.at[i]); });
    }
    static I set(int32_t value) {
        return each_int([&](int) { return vdupq_n_s32(value); });
    }
    template <int bits>
    static I shift_left(I a) {
        return each_int([&](int i) { return vshlq_n_s32(a.at[i], bits); });
    }
    template <int bits>
    static I shift_right(I a) {
        return each_int([&](int i) { return vshrq_n_s32(a.at[i], bits); });
    }
    template <int bits>
    static I low_bits(I a) {
        return each_int([&](int i) { return vandq_s32(a.at[i], vdupq_n_s32((1 << bits) - 1)); });
    }
    static I add(I a, I b) {
        return each_int([&](int i) { return vaddq_s32(a.at[i], b.at[i]); });
    }
    static I load_int8(const uint8_t* from) {
        const int8x16_t bytes = vreinterpretq_s8_u8(vld1q_u8(from));
        const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
        return {vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)};
    }
    static I to_int(F a) {
        return each_int([&](int i) { return vcvtnq_s32_f32(a.at[i]); });
    }
    // The even bytes or halves of two registers: what a narrower number keeps of each.
    static int16x8_t low_halves(int32x4_t a, int32x4_t b) {
        return vuzp1q_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
    }
    static int8x16_t low_bytes(int16x8_t a, int16x8_t b) {
        return vuzp1q_s8(vreinterpretq_s8_s16(a), vreinterpretq_s8_s16(b));
    }
    static void store_int8(int8_t* to, I a) {
        vst1q_s8(to, low_bytes(low_halves(a.at[0], a.at[1]), low_halves(a.at[2], a.at[3])));
    }
    static int32_t sum_lanes(I a) {
        return vaddvq_s32(vaddq_s32(vaddq_s32(a.at[0], a.at[1]), vaddq_s32(a.at[2], a.at[3])));
    }
    static float sum_lanes(F a) {
        const float32x4_t four = vaddq_f32(vaddq_f32(a.at[0], a.at[2]), vaddq_f32(a.at[1], a.at[3]));
        const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
        return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
    }
    static float max_lanes(F a) {
        return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.at[0], a.at[1]), vmaxq_f32(a.at[2], a.at[3])));
    }
    static Sums add(Sums sums, F a) {
        for (int i = 0; i < 4; ++i) {
            sums.at[2 * i] = vaddq_f64(sums.at[2 * i], vcvt_f64_f32(vget_low_f32(a.at[i])));
            sums.at[2 * i + 1] = vaddq_f64(sums.at[2 * i + 1], vcvt_high_f64_f32(a.at[i]));
        }
        return sums;
    }
    static double sum_lanes(Sums sums) {
        for (int width = 4; width > 0; width /= 2) {
            for (int i = 0; i < width; ++i) sums.at[i] = vaddq_f64(sums.at[i], sums.at[i + width]);
        }
        return vaddvq_f64(sums.at[0]);
    }
    static int32x4_t between(float32x4_t keys, float32x4_t low, float32x4_t high) {
        return vreinterpretq_s32_u32(vandq_u32(vcgeq_f32(keys, low), vcleq_f32(keys, high)));
    }
    static int store_positions(int32_t* to, int32_t first, F keys, F low, F high) {
        const I is_between = each_int([&](int i) { return between(keys.at[i], low.at[i], high.at[i]); });
        const int8x16_t bytes =
            low_bytes(low_halves(is_between.at[0], is_between.at[1]), low_halves(is_between.at[2], is_between.at[3]));
        // Four bits of each byte, in 64 bits; one of them is enough.
        const uint8x8_t nibbles = vshrn_n_u16(vreinterpretq_u16_s8(bytes), 4);
        uint64_t lanes = vget_lane_u64(vreinterpret_u64_u8(nibbles), 0) & 0x1111111111111111u;
        int count = 0;
        for (; lanes != 0; lanes &= lanes - 1) to[count++] = first + __builtin_ctzll(lanes) / 4;
        return count;
    }

    static Bytes load_bytes(const uint8_t* from) {
        return each_bytes([&](int i) { return vld1q_u8(from + 16 * i); });
    }
    static void store_bytes(uint8_t* to, Bytes a) {
        for (int i = 0; i < 4; ++i) vst1q_u8(to + 16 * i, a.at[i]);
    }
    template <int bits, int from, int to>
    static uint8x16_t field_quarter(uint8x16_t a) {
        uint8x16_t moved = a;
        if constexpr (from > to) moved = vshrq_n_u8(a, from - to);
        if constexpr (from < to) moved = vshlq_n_u8(a, to - from);
        // The bits that are shifted in are zero already.
        constexpr bool is_alone = (from + bits == 8 && to == 0) || (from == 0 && to + bits == 8);
        return is_alone ? moved : vandq_u8(moved, vdupq_n_u8(((1 << bits) - 1) << to));
    }
    template <int bits, int from, int to>
    static Bytes field(Bytes a) {
        return each_bytes([&](int i) { return field_quarter<bits, from, to>(a.at[i]); });
    }
    static Bytes either(Bytes a, Bytes b) {
        return each_bytes([&](int i) { return vorrq_u8(a.at[i], b.at[i]); });
    }
    static Bytes look_up(Bytes places, const uint8_t* table) {
        const uint8x16_t values = vld1q_u8(table);
        return each_bytes([&](int i) { return vqtbl1q_u8(values, places.at[i]); });
    }
    // The same address, which the compiler takes for another: what it has loaded from there for other rows it would
    // keep in memory, since its registers are full, instead of loading it again.
    template <int tokens, int stride>
    static Columns<tokens, stride> load_columns(const int8_t* from) {
        asm volatile("" : "+r"(from));
        Columns<tokens, stride> columns;
        for (int t = 0; t < tokens; ++t) {
            for (int i = 0; i < 2; ++i) columns.at[t][i] = vld1q_s8(from + t * stride + 16 * i);
        }
        return columns;
    }
    template <int quad, int tokens, int stride>
    static Quad<quad % 4> spread(const Columns<tokens, stride>& x, int token) {
        return {x.at[token][quad / 4]};
    }

    template <int lane>
    static int8x16_t repeated(Quad<lane> x) {
        return vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(x.four), lane));
    }
    // For pairs of products that stay below 2^15: the largest are 128 x 127 x 2.
    template <int lane>
    static int32x4_t dot_signed(int32x4_t acc, int8x16_t w, Quad<lane> x) {
#if defined(__ARM_FEATURE_DOTPROD)
        return vdotq_laneq_s32(acc, w, x.four, lane);
#else
        const int8x16_t quad = repeated(x);
        const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(quad)), high = vmull_high_s8(w, quad);
        return vpadalq_s16(acc, vpaddq_s16(low, high));
#endif
    }
    template <int lane>
    static I dot_nibbles(I acc, Bytes w, Quad<lane> x) {
        return each_int([&](int i) { return dot_signed(acc.at[i], vreinterpretq_s8_u8(w.at[i]), x); });
    }
    template <int lane>
    static I dot_weights(I acc, Bytes values, Quad<lane> weights) {
        return dot_nibbles(acc, values, weights);
    }
#if !defined(__ARM_FEATURE_DOTPROD)
    // Single products in 16 bits, and their sums over several quads; pairs are added when they become sums of 32.
    struct Pairs {
        int16x8_t at[8];
    };
    template <int lane>
    static Pairs pairs(Bytes w, Quad<lane> x) {
        const int8x16_t quad = repeated(x);
        Pairs products;
        for (int i = 0; i < 4; ++i) {
            const int8x16_t bytes = vreinterpretq_s8_u8(w.at[i]);
            products.at[2 * i] = vmull_s8(vget_low_s8(bytes), vget_low_s8(quad));
            products.at[2 * i + 1] = vmull_high_s8(bytes, quad);
        }
        return products;
    }
    static Pairs add(Pairs a, Pairs b) {
        for (int i = 0; i < 8; ++i) a.at[i] = vaddq_s16(a.at[i], b.at[i]);
        return a;
    }
    static I add(I acc, Pairs a) {
        return each_int([&](int i) { return vpadalq_s16(acc.at[i], vpaddq_s16(a.at[2 * i], a.at[2 * i + 1])); });
    }
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
    template <int lane>
    static I dot_bytes(I acc, Bytes w, Quad<lane> x) {
        return each_int([&](int i) { return vusdotq_laneq_s32(acc.at[i], w.at[i], x.four, lane); });
    }
    static int32_t start_q8(int32_t sum_of_x) { return -128 * sum_of_x; }

    // Products of matrices: two rows with two tokens, eight columns each, in one instruction. Such eight columns of a
    // row or a token are an octet; a register has those of rows 2 i and 2 i + 1.
    static void store_octets(uint8_t* to, Bytes first, Bytes second) {
        for (int i = 0; i < 4; ++i) {
            const uint32x4_t a = vreinterpretq_u32_u8(first.at[i]), b = vreinterpretq_u32_u8(second.at[i]);
            vst1q_u8(to + 32 * i, vreinterpretq_u8_u32(vzip1q_u32(a, b)));
            vst1q_u8(to + 32 * i + 16, vreinterpretq_u8_u32(vzip2q_u32(a, b)));
        }
    }
    // The columns of two tokens, an octet of each in a register.
    struct PairColumns {
        int8x16_t at[4];
    };
    static PairColumns load_pair(const int8_t* one, const int8_t* two) {
        PairColumns pair;
        for (int i = 0; i < 2; ++i) {
            const int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(one + 16 * i));
            const int64x2_t b = vreinterpretq_s64_s8(vld1q_s8(two + 16 * i));
            pair.at[2 * i] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
            pair.at[2 * i + 1] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
        }
        return pair;
    }
    // Sums of two tokens: both tokens' of one row, then both of the next.
    struct PairSums {
        int32x4_t at[8];
    };
    static PairSums set_pair(int32_t one, int32_t two) {
        const int32x4_t both = vzip1q_s32(vdupq_n_s32(one), vdupq_n_s32(two));
        return {{both, both, both, both, both, both, both, both}};
    }
    template <int octet, int pairs>
    static void add_octets(PairSums (&sums)[pairs], const uint8_t* octets, const PairColumns (&x)[pairs]) {
        for (int i = 0; i < 8; ++i) {
            const uint8x16_t w = vld1q_u8(octets + 16 * i);
            for (int p = 0; p < pairs; ++p) sums[p].at[i] = vusmmlaq_s32(sums[p].at[i], w, x[p].at[octet]);
        }
    }
    static I sums_of_first(const PairSums& sums) {
        return each_int([&](int i) { return vuzp1q_s32(sums.at[2 * i], sums.at[2 * i + 1]); });
    }
    static I sums_of_second(const PairSums& sums) {
        return each_int([&](int i) { return vuzp2q_s32(sums.at[2 * i], sums.at[2 * i + 1]); });
    }
#else
    // Bytes without their offset of 128 are signed, so nothing is left to take off.
    template <int lane>
    static I dot_bytes(I acc, Bytes w, Quad<lane> x) {
        const uint8x16_t offset = vdupq_n_u8(128);
        return each_int(
            [&](int i) { return dot_signed(acc.at[i], vreinterpretq_s8_u8(veorq_u8(w.at[i], offset)), x); });
    }
    static int32_t start_q8(int32_t) { return 0; }
#endif
};

}  // namespace
}  // namespace nextword

#endif
