// Vectors of 16 numbers as one AVX-512 register. The operations are those of simd_portable.h, with equal results.

#ifndef NEXTWORD_SIMD_AVX512_H
#define NEXTWORD_SIMD_AVX512_H

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace nextword {
namespace {

struct Simd {
    static constexpr int kTokens = 6;         // 12 sums and 12 integer products stay in the 32 registers
    static constexpr int kFloatTokens = 6;    // of a tile, where weights are floats
    static constexpr int kBytesAhead = 8192;  // from the weights that are multiplied to those that are prefetched
    static constexpr int kHalvesAtOnce = 2;
    static constexpr bool kAddsPairs = false;
    static constexpr bool kMultipliesWords = false;
    static constexpr bool kMultipliesOctets = false;
    // AMD's cores unpack nibbles while they multiply; in Intel's both take the same ports.
    static bool unpacking_costs() { return !__builtin_cpu_is("amd"); }

    // One-member structs, because overloads cannot tell the attributes of bare vector types apart.
    struct F {
        __m512 v;
    };
    struct I {
        __m512i v;
    };
    struct Bytes {
        __m512i v;
    };
    struct Quad {
        __m512i v;
    };
    struct Sums {
        __m512d low, high;
    };

    static F set(float value) { return {_mm512_set1_ps(value)}; }
    static F load(const float* from) { return {_mm512_loadu_ps(from)}; }
    static F load_bf16(const uint16_t* from) {
        const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))};
    }
    static F load_fp16(const uint16_t* from) {
        return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
    }
    static uint16_t to_fp16(float value) { return static_cast<uint16_t>(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT)); }
    static void store(float* to, F a) { _mm512_storeu_ps(to, a.v); }
#if defined(__AVX512BF16__)
    // Numbers below 2^-126 become 0.
    static void store_bf16(uint16_t* to, F a) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(a.v));
    }
#else
    static void store_bf16(uint16_t* to, F a) {
        const __m512i bits = _mm512_castps_si512(a.v);
        const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        const __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
        const __mmask16 is_nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
        const __m512i rounded = _mm512_mask_mov_epi32(_mm512_srli_epi32(up, 16), is_nan, _mm512_set1_epi32(0x7fc0));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(rounded));
    }
#endif

    static F add(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
    static F sub(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
    static F mul(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
    static F div(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
    static F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
    static F max(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
    static F min(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
    static F abs(F a) { return {_mm512_abs_ps(a.v)}; }
    static F copysign(F b, F a) {
        const __m512 sign = _mm512_set1_ps(-0.0f);
        return {_mm512_or_ps(_mm512_abs_ps(b.v), _mm512_and_ps(sign, a.v))};
    }
    static F keep_from(F x, F bound, F value) {
        return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, bound.v, _CMP_GE_OQ), value.v)};
    }
    static F clear_below(F x, F bound, F value) {
        return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, bound.v, _CMP_NLT_UQ), value.v)};
    }
    static F round(F a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
    static F pow2(F n) {
        const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
        return {_mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23))};
    }

    static F to_float(I a) { return {_mm512_cvtepi32_ps(a.v)}; }
    static I set(int32_t value) { return {_mm512_set1_epi32(value)}; }
    template <int bits>
    static I shift_left(I a) {
        return {_mm512_slli_epi32(a.v, bits)};
    }
    template <int bits>
    static I shift_right(I a) {
        return {_mm512_srli_epi32(a.v, bits)};
    }
    template <int bits>
    static I low_bits(I a) {
        return {_mm512_and_si512(a.v, _mm512_set1_epi32((1 << bits) - 1))};
    }
    static I add(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
    static I load_int(const int32_t* from) { return {_mm512_loadu_si512(from)}; }
    static I load_int8(const uint8_t* from) {
        return {_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)))};
    }
    static I to_int(F a) { return {_mm512_cvtps_epi32(a.v)}; }
    static void store_int8(int8_t* to, I a) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8(a.v));
    }
    static int32_t sum_lanes(I a) { return _mm512_reduce_add_epi32(a.v); }
    static float sum_lanes(F a) {
        const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
        const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
    }
    static float max_lanes(F a) { return _mm512_reduce_max_ps(a.v); }
    static Sums add(Sums sums, F a) {
        return {_mm512_add_pd(sums.low, _mm512_cvtps_pd(_mm512_castps512_ps256(a.v))),
                _mm512_add_pd(sums.high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1)))};
    }
    static double sum_lanes(Sums sums) { return _mm512_reduce_add_pd(_mm512_add_pd(sums.low, sums.high)); }
    static int store_positions(int32_t* to, int32_t first, F keys, F low, F high) {
        const __mmask16 from_low = _mm512_cmp_ps_mask(keys.v, low.v, _CMP_GE_OQ);
        const __mmask16 between = _mm512_mask_cmp_ps_mask(from_low, keys.v, high.v, _CMP_LE_OQ);
        const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        const __m512i positions = _mm512_add_epi32(_mm512_set1_epi32(first), lanes);
        _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(between, positions));
        return __builtin_popcount(between);
    }

    static Bytes load_bytes(const uint8_t* from) { return {_mm512_loadu_si512(from)}; }
    static void store_bytes(uint8_t* to, Bytes a) { _mm512_storeu_si512(to, a.v); }
    template <int bits, int from, int to>
    static Bytes field(Bytes a) {
        constexpr int right = from > to ? from - to : 0, left = to > from ? to - from : 0;
        const __m512i moved = _mm512_slli_epi16(_mm512_srli_epi16(a.v, right), left);
        return {_mm512_and_si512(moved, _mm512_set1_epi8(static_cast<char>(((1 << bits) - 1) << to)))};
    }
    static Bytes either(Bytes a, Bytes b) { return {_mm512_or_si512(a.v, b.v)}; }
    static Bytes look_up(Bytes places, const uint8_t* table) {
        const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
        return {_mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), places.v)};
    }
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
        int32_t columns;
        std::memcpy(&columns, x.from + token * stride + quad * 4, sizeof columns);
        return {_mm512_set1_epi32(columns)};
    }

    static I dot_nibbles(I acc, Bytes w, Quad x) { return {_mm512_dpbusd_epi32(acc.v, w.v, x.v)}; }
    static I dot_bytes(I acc, Bytes w, Quad x) { return dot_nibbles(acc, w, x); }
    static I dot_weights(I acc, Bytes values, Quad weights) {
        return {_mm512_dpbusd_epi32(acc.v, weights.v, values.v)};
    }
    static int32_t start_q8(int32_t sum_of_x) { return -128 * sum_of_x; }

#if defined(__AVX512BF16__)
    // 16 pairs of bf16.
    struct Pairs {
        __m512bh v;
    };
    static Pairs load_pairs(const uint16_t* from) { return {(__m512bh)_mm512_loadu_si512(from)}; }
    static Pairs spread_pair(const uint16_t* from) {
        int32_t pair;
        std::memcpy(&pair, from, sizeof pair);
        return {(__m512bh)_mm512_set1_epi32(pair)};
    }
    // Adds both products of each pair. Numbers below 2^-126 count as 0.
    static F dot_pairs(F acc, Pairs a, Pairs b) { return {_mm512_dpbf16_ps(acc.v, a.v, b.v)}; }
#endif
};

}  // namespace
}  // namespace nextword

#endif
