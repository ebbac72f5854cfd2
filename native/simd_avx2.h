// Vectors of 16 numbers as two AVX2 registers. The operations are those of simd_portable.h, with equal results.

#ifndef NEXTWORD_SIMD_AVX2_H
#define NEXTWORD_SIMD_AVX2_H

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace nextword {
namespace {

struct Avx2 {
    static constexpr int kTokens = 4;
    static constexpr int kFloatTokens = 6;    // of a tile, where weights are floats
    static constexpr int kBytesAhead = 2048;  // from the weights that are multiplied to those that are prefetched
    static constexpr int kHalvesAtOnce = 1;
    static constexpr bool kAddsPairs = true;
    static constexpr bool kMultipliesWords = true;
    static constexpr bool kMultipliesOctets = false;
    static constexpr bool unpacking_costs() { return true; }

    struct F {
        __m256 low, high;
    };
    struct I {
        __m256i low, high;
    };
    struct Bytes {
        __m256i low, high;
    };
    struct Pairs {
        __m256i low, high;
    };
    using Quad = __m256i;
    struct Sums {
        __m256d at[4];
    };

    static F set(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
    static F load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
    static __m256 widen_bf16(const uint16_t* from) {
        const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
    }
    static F load_bf16(const uint16_t* from) { return {widen_bf16(from), widen_bf16(from + 8)}; }
    static __m256 widen_fp16(const uint16_t* from) {
        return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    }
    static F load_fp16(const uint16_t* from) { return {widen_fp16(from), widen_fp16(from + 8)}; }
    static uint16_t to_fp16(float value) { return static_cast<uint16_t>(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT)); }
    static void store(float* to, F a) {
        _mm256_storeu_ps(to, a.low);
        _mm256_storeu_ps(to + 8, a.high);
    }
    static __m256i rounded_bf16(__m256 a) {
        const __m256i bits = _mm256_castps_si256(a);
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        const __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
        const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
        return _mm256_blendv_epi8(_mm256_srli_epi32(up, 16), _mm256_set1_epi32(0x7fc0), is_nan);
    }
    static void store_bf16(uint16_t* to, F a) {
        const __m256i packed = _mm256_packus_epi32(rounded_bf16(a.low), rounded_bf16(a.high));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(packed, 0xd8));
    }

    static F add(F a, F b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
    static F sub(F a, F b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
    static F mul(F a, F b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
    static F div(F a, F b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
    static F fma(F a, F b, F c) {
        return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
    }
    static F max(F a, F b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
    static F min(F a, F b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
    static F abs(F a) {
        const __m256 sign = _mm256_set1_ps(-0.0f);
        return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
    }
    static F copysign(F b, F a) {
        const __m256 sign = _mm256_set1_ps(-0.0f);
        const F magnitude = abs(b);
        return {_mm256_or_ps(magnitude.low, _mm256_and_ps(sign, a.low)),
                _mm256_or_ps(magnitude.high, _mm256_and_ps(sign, a.high))};
    }
    static F keep_from(F x, F bound, F value) {
        return {_mm256_and_ps(_mm256_cmp_ps(x.low, bound.low, _CMP_GE_OQ), value.low),
                _mm256_and_ps(_mm256_cmp_ps(x.high, bound.high, _CMP_GE_OQ), value.high)};
    }
    static F clear_below(F x, F bound, F value) {
        return {_mm256_andnot_ps(_mm256_cmp_ps(x.low, bound.low, _CMP_LT_OQ), value.low),
                _mm256_andnot_ps(_mm256_cmp_ps(x.high, bound.high, _CMP_LT_OQ), value.high)};
    }
    static F round(F a) {
        constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        return {_mm256_round_ps(a.low, nearest), _mm256_round_ps(a.high, nearest)};
    }
    static __m256 pow2_half(__m256 n) {
        const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
        return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
    }
    static F pow2(F n) { return {pow2_half(n.low), pow2_half(n.high)}; }

    static F to_float(I a) { return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)}; }
    static I set(int32_t value) { return {_mm256_set1_epi32(value), _mm256_set1_epi32(value)}; }
    template <int bits>
    static I shift_left(I a) {
        return {_mm256_slli_epi32(a.low, bits), _mm256_slli_epi32(a.high, bits)};
    }
    template <int bits>
    static I shift_right(I a) {
        return {_mm256_srli_epi32(a.low, bits), _mm256_srli_epi32(a.high, bits)};
    }
    template <int bits>
    static I low_bits(I a) {
        const __m256i mask = _mm256_set1_epi32((1 << bits) - 1);
        return {_mm256_and_si256(a.low, mask), _mm256_and_si256(a.high, mask)};
    }
    static I add(I a, I b) { return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)}; }
    static I load_int8(const uint8_t* from) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
        return {_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes))};
    }
    static I to_int(F a) { return {_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high)}; }
    static int32_t sum_lanes(I a) {
        const __m256i sums = _mm256_add_epi32(a.low, a.high);
        __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
        sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
        return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
    }
    static float sum_lanes(F a) {
        const __m256 eight = _mm256_add_ps(a.low, a.high);
        const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
    }
    static float max_lanes(F a) {
        const __m256 larger = _mm256_max_ps(a.low, a.high);
        __m128 largest = _mm_max_ps(_mm256_castps256_ps128(larger), _mm256_extractf128_ps(larger, 1));
        largest = _mm_max_ps(largest, _mm_shuffle_ps(largest, largest, 0x4e));
        return _mm_cvtss_f32(_mm_max_ps(largest, _mm_shuffle_ps(largest, largest, 0xb1)));
    }
    static Sums add(Sums sums, F a) {
        const __m128 quarters[4] = {_mm256_castps256_ps128(a.low), _mm256_extractf128_ps(a.low, 1),
                                    _mm256_castps256_ps128(a.high), _mm256_extractf128_ps(a.high, 1)};
        for (int i = 0; i < 4; ++i) sums.at[i] = _mm256_add_pd(sums.at[i], _mm256_cvtps_pd(quarters[i]));
        return sums;
    }
    static double sum_lanes(Sums sums) {
        const __m256d four =
            _mm256_add_pd(_mm256_add_pd(sums.at[0], sums.at[1]), _mm256_add_pd(sums.at[2], sums.at[3]));
        const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
        return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
    }
    static int between(__m256 keys, __m256 low, __m256 high) {
        return _mm256_movemask_ps(
            _mm256_and_ps(_mm256_cmp_ps(keys, low, _CMP_GE_OQ), _mm256_cmp_ps(keys, high, _CMP_LE_OQ)));
    }
    static int store_positions(int32_t* to, int32_t first, F keys, F low, F high) {
        unsigned lanes =
            static_cast<unsigned>(between(keys.low, low.low, high.low) | between(keys.high, low.high, high.high) << 8);
        int count = 0;
        for (; lanes != 0; lanes &= lanes - 1) to[count++] = first + __builtin_ctz(lanes);
        return count;
    }
    static void store_int8(int8_t* to, I a) {
        const __m256i words = _mm256_packs_epi32(a.low, a.high);
        const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
        const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
    }

    static Bytes load_bytes(const uint8_t* from) {
        return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)),
                _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32))};
    }
    static void store_bytes(uint8_t* to, Bytes a) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), a.low);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32), a.high);
    }
    template <int bits, int from, int to>
    static __m256i field_half(__m256i a) {
        constexpr int right = from > to ? from - to : 0, left = to > from ? to - from : 0;
        const __m256i moved = _mm256_slli_epi16(_mm256_srli_epi16(a, right), left);
        return _mm256_and_si256(moved, _mm256_set1_epi8(static_cast<char>(((1 << bits) - 1) << to)));
    }
    template <int bits, int from, int to>
    static Bytes field(Bytes a) {
        return {field_half<bits, from, to>(a.low), field_half<bits, from, to>(a.high)};
    }
    static Bytes either(Bytes a, Bytes b) { return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)}; }
    static Bytes look_up(Bytes places, const uint8_t* table) {
        const __m256i values = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
        return {_mm256_shuffle_epi8(values, places.low), _mm256_shuffle_epi8(values, places.high)};
    }
    template <int tokens, int stride>
    struct Columns {
        const int8_t* from;
    };
    // The same address, which the compiler takes for another: what it has loaded from there for other rows it would
    // keep in memory, since its registers are full, instead of loading it again.
    template <int tokens, int stride>
    static Columns<tokens, stride> load_columns(const int8_t* from) {
        asm volatile("" : "+r"(from));
        return {from};
    }
    template <int quad, int tokens, int stride>
    static Quad spread(const Columns<tokens, stride>& x, int token) {
        int32_t columns;
        std::memcpy(&columns, x.from + token * stride + quad * 4, sizeof columns);
        return _mm256_set1_epi32(columns);
    }

    // The sum, computed here: GCC would put off all additions, and keep the products in memory until then.
    static __m256i now(__m256i sum) {
        asm("" : "+x"(sum));
        return sum;
    }
    static __m256i dot_half(__m256i acc, __m256i w, __m256i x) {
        // Pairs of products stay below 2^15: 63 x 127 x 2 for integers of 6 bits, 128 x 127 x 2 for bytes without their
        // offset.
        return now(_mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1))));
    }
    static I dot_nibbles(I acc, Bytes w, Quad x) {
        return {dot_half(acc.low, w.low, x), dot_half(acc.high, w.high, x)};
    }
    // Sums of two products in 16 bits, which a dot product adds up in two instructions.
    static Pairs pairs(Bytes w, Quad x) { return {_mm256_maddubs_epi16(w.low, x), _mm256_maddubs_epi16(w.high, x)}; }
    static Pairs add(Pairs a, Pairs b) {
        return {now(_mm256_add_epi16(a.low, b.low)), now(_mm256_add_epi16(a.high, b.high))};
    }
    static I add(I acc, Pairs a) {
        const __m256i one = _mm256_set1_epi16(1);
        return {_mm256_add_epi32(acc.low, _mm256_madd_epi16(a.low, one)),
                _mm256_add_epi32(acc.high, _mm256_madd_epi16(a.high, one))};
    }
    // maddubs would saturate on bytes up to 255: the sign goes to the other factor, so no offset is left to take off.
    static __m256i dot_signed(__m256i acc, __m256i w, __m256i x) {
        const __m256i value = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
        return dot_half(acc, _mm256_abs_epi8(value), _mm256_sign_epi8(x, value));
    }
    static I dot_bytes(I acc, Bytes w, Quad x) {
        return {dot_signed(acc.low, w.low, x), dot_signed(acc.high, w.high, x)};
    }
    // Products with numbers of 16 bits. Of each quad of columns, the first part holds the numbers of columns 0 and 2,
    // the second those of columns 1 and 3.
    static void store_words(int8_t* first, int8_t* second, I a) {
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.low, a.high), 0xd8);
        const __m256i parts = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,  //
                                               0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
        const __m256i ordered = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(words, parts), 0xd8);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(first), _mm256_castsi256_si128(ordered));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(second), _mm256_extracti128_si256(ordered, 1));
    }
    static __m256i dot_words(__m256i acc, __m256i w, __m256i x) {
        return now(_mm256_add_epi32(acc, _mm256_madd_epi16(w, x)));
    }
    // The bytes of a part's columns as words; the bytes are 0 to 255.
    template <int part>
    static Bytes words(Bytes w) {
        if (part == 1) return {_mm256_srli_epi16(w.low, 8), _mm256_srli_epi16(w.high, 8)};
        const __m256i mask = _mm256_set1_epi16(0xff);
        return {_mm256_and_si256(w.low, mask), _mm256_and_si256(w.high, mask)};
    }
    // The same of signed bytes.
    template <int part>
    static Bytes signed_words(Bytes w) {
        if (part == 0) w = {_mm256_slli_epi16(w.low, 8), _mm256_slli_epi16(w.high, 8)};
        return {_mm256_srai_epi16(w.low, 8), _mm256_srai_epi16(w.high, 8)};
    }
    static I dot_words(I acc, Bytes words, Quad x) {
        return {dot_words(acc.low, words.low, x), dot_words(acc.high, words.high, x)};
    }
    static int32_t start_q8(int32_t) { return 0; }
};

}  // namespace
}  // namespace nextword

#endif
