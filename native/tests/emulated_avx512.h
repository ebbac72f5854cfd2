// The intrinsics of AVX-512 and AVX-VNNI that the kernels use, written with those of AVX2, after Intel's description of
// each: so processors that lack the instructions can still test the kernels' use of them. Inside the namespace, these
// names hide the compiler's, so this comes before the vectors.

#ifndef NEXTWORD_TESTS_EMULATED_AVX512_H
#define NEXTWORD_TESTS_EMULATED_AVX512_H

#include <immintrin.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

// Some compilers have them as macros, which a namespace does not hide.
#undef _mm256_dpbusd_epi32
#undef _mm512_cmp_ps_mask
#undef _mm512_extractf32x8_ps
#undef _mm512_mask_cmp_ps_mask
#undef _mm512_roundscale_ps

namespace nextword {
namespace {

struct __m512 {
    __m256 low, high;
};
struct __m512i {
    __m256i low, high;
};
struct __m512d {
    __m256d low, high;
};
using __m512bh = __m512i;

// ---- the same in both halves ----

#define NEXTWORD_IN_HALVES(type, name, half) \
    inline type name(type a, type b) { return {half(a.low, b.low), half(a.high, b.high)}; }
NEXTWORD_IN_HALVES(__m512, _mm512_add_ps, _mm256_add_ps)
NEXTWORD_IN_HALVES(__m512, _mm512_sub_ps, _mm256_sub_ps)
NEXTWORD_IN_HALVES(__m512, _mm512_mul_ps, _mm256_mul_ps)
NEXTWORD_IN_HALVES(__m512, _mm512_div_ps, _mm256_div_ps)
NEXTWORD_IN_HALVES(__m512, _mm512_max_ps, _mm256_max_ps)
NEXTWORD_IN_HALVES(__m512, _mm512_min_ps, _mm256_min_ps)
NEXTWORD_IN_HALVES(__m512, _mm512_and_ps, _mm256_and_ps)
NEXTWORD_IN_HALVES(__m512, _mm512_or_ps, _mm256_or_ps)
NEXTWORD_IN_HALVES(__m512d, _mm512_add_pd, _mm256_add_pd)
NEXTWORD_IN_HALVES(__m512i, _mm512_add_epi32, _mm256_add_epi32)
NEXTWORD_IN_HALVES(__m512i, _mm512_and_si512, _mm256_and_si256)
NEXTWORD_IN_HALVES(__m512i, _mm512_or_si512, _mm256_or_si256)
NEXTWORD_IN_HALVES(__m512i, _mm512_shuffle_epi8, _mm256_shuffle_epi8)
#undef NEXTWORD_IN_HALVES

#define NEXTWORD_SHIFT(name, half) \
    inline __m512i name(__m512i a, int bits) { return {half(a.low, bits), half(a.high, bits)}; }
NEXTWORD_SHIFT(_mm512_slli_epi16, _mm256_slli_epi16)
NEXTWORD_SHIFT(_mm512_srli_epi16, _mm256_srli_epi16)
NEXTWORD_SHIFT(_mm512_slli_epi32, _mm256_slli_epi32)
NEXTWORD_SHIFT(_mm512_srli_epi32, _mm256_srli_epi32)
#undef NEXTWORD_SHIFT

inline __m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
inline __m512 _mm512_abs_ps(__m512 a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
// To whole numbers, to nearest: all that the kernels ask for.
inline __m512 _mm512_roundscale_ps(__m512 a, int how) {
    constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    if (how != nearest) std::abort();
    return {_mm256_round_ps(a.low, nearest), _mm256_round_ps(a.high, nearest)};
}

// ---- in and out ----

inline __m512 _mm512_set1_ps(float a) { return {_mm256_set1_ps(a), _mm256_set1_ps(a)}; }
inline __m512i _mm512_set1_epi32(int a) { return {_mm256_set1_epi32(a), _mm256_set1_epi32(a)}; }
inline __m512i _mm512_set1_epi8(char a) { return {_mm256_set1_epi8(a), _mm256_set1_epi8(a)}; }
inline __m512i _mm512_set_epi32(int a15, int a14, int a13, int a12, int a11, int a10, int a9, int a8, int a7, int a6,
                                int a5, int a4, int a3, int a2, int a1, int a0) {
    return {_mm256_set_epi32(a7, a6, a5, a4, a3, a2, a1, a0), _mm256_set_epi32(a15, a14, a13, a12, a11, a10, a9, a8)};
}
inline __m512i _mm512_broadcast_i32x4(__m128i a) {
    return {_mm256_broadcastsi128_si256(a), _mm256_broadcastsi128_si256(a)};
}
inline __m512 _mm512_loadu_ps(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
inline void _mm512_storeu_ps(float* to, __m512 a) {
    _mm256_storeu_ps(to, a.low);
    _mm256_storeu_ps(to + 8, a.high);
}
inline __m512i _mm512_loadu_si512(const void* from) {
    const __m256i* halves = static_cast<const __m256i*>(from);
    return {_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
}
inline void _mm512_storeu_si512(void* to, __m512i a) {
    __m256i* halves = static_cast<__m256i*>(to);
    _mm256_storeu_si256(halves, a.low);
    _mm256_storeu_si256(halves + 1, a.high);
}

// ---- other types ----

inline __m512 _mm512_castsi512_ps(__m512i a) { return {_mm256_castsi256_ps(a.low), _mm256_castsi256_ps(a.high)}; }
inline __m512i _mm512_castps_si512(__m512 a) { return {_mm256_castps_si256(a.low), _mm256_castps_si256(a.high)}; }
inline __m256 _mm512_castps512_ps256(__m512 a) { return a.low; }
inline __m256 _mm512_extractf32x8_ps(__m512 a, int half) { return half == 0 ? a.low : a.high; }

inline __m512 _mm512_cvtepi32_ps(__m512i a) { return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)}; }
inline __m512i _mm512_cvtps_epi32(__m512 a) { return {_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high)}; }
inline __m512d _mm512_cvtps_pd(__m256 a) {
    return {_mm256_cvtps_pd(_mm256_castps256_ps128(a)), _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1))};
}
inline __m512 _mm512_cvtph_ps(__m256i a) {
    return {_mm256_cvtph_ps(_mm256_castsi256_si128(a)), _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1))};
}
inline __m512i _mm512_cvtepu16_epi32(__m256i a) {
    return {_mm256_cvtepu16_epi32(_mm256_castsi256_si128(a)), _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1))};
}
inline __m512i _mm512_cvtepi8_epi32(__m128i a) {
    return {_mm256_cvtepi8_epi32(a), _mm256_cvtepi8_epi32(_mm_srli_si128(a, 8))};
}
// The low half of each.
inline __m256i _mm512_cvtepi32_epi16(__m512i a) {
    const __m256i mask = _mm256_set1_epi32(0xffff);
    const __m256i words = _mm256_packus_epi32(_mm256_and_si256(a.low, mask), _mm256_and_si256(a.high, mask));
    return _mm256_permute4x64_epi64(words, 0xd8);
}
// The nearest int8 to each.
inline __m128i _mm512_cvtsepi32_epi8(__m512i a) {
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.low, a.high), 0xd8);
    return _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

// ---- masks ----

inline unsigned half_mask(__m256 a, __m256 b, int how) {
    __m256 holds;
    if (how == _CMP_GE_OQ) {
        holds = _mm256_cmp_ps(a, b, _CMP_GE_OQ);
    } else if (how == _CMP_NLT_UQ) {
        holds = _mm256_cmp_ps(a, b, _CMP_NLT_UQ);
    } else if (how == _CMP_LE_OQ) {
        holds = _mm256_cmp_ps(a, b, _CMP_LE_OQ);
    } else if (how == _CMP_UNORD_Q) {
        holds = _mm256_cmp_ps(a, b, _CMP_UNORD_Q);
    } else {
        std::abort();
    }
    return static_cast<unsigned>(_mm256_movemask_ps(holds));
}
inline __mmask16 _mm512_cmp_ps_mask(__m512 a, __m512 b, int how) {
    return static_cast<__mmask16>(half_mask(a.low, b.low, how) | half_mask(a.high, b.high, how) << 8);
}
inline __mmask16 _mm512_mask_cmp_ps_mask(__mmask16 mask, __m512 a, __m512 b, int how) {
    return static_cast<__mmask16>(mask & _mm512_cmp_ps_mask(a, b, how));
}
inline __m512i _mm512_mask_mov_epi32(__m512i otherwise, __mmask16 mask, __m512i a) {
    int32_t result[16], lanes[16];
    _mm512_storeu_si512(result, otherwise);
    _mm512_storeu_si512(lanes, a);
    for (int i = 0; i < 16; ++i) {
        if ((mask >> i & 1) != 0) result[i] = lanes[i];
    }
    return _mm512_loadu_si512(result);
}
inline __m512 _mm512_maskz_mov_ps(__mmask16 mask, __m512 a) {
    return _mm512_castsi512_ps(_mm512_mask_mov_epi32(_mm512_set1_epi32(0), mask, _mm512_castps_si512(a)));
}
inline __m512i _mm512_maskz_compress_epi32(__mmask16 mask, __m512i a) {
    int32_t result[16] = {}, lanes[16];
    _mm512_storeu_si512(lanes, a);
    for (int i = 0, count = 0; i < 16; ++i) {
        if ((mask >> i & 1) != 0) result[count++] = lanes[i];
    }
    return _mm512_loadu_si512(result);
}

// ---- over the lanes, each half to the other until one is left ----

inline int _mm512_reduce_add_epi32(__m512i a) {
    uint32_t lanes[16];
    _mm512_storeu_si512(lanes, a);
    for (int width = 8; width > 0; width /= 2) {
        for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
    }
    return static_cast<int>(lanes[0]);
}
inline float _mm512_reduce_max_ps(__m512 a) {
    const __m256 eight = _mm256_max_ps(a.low, a.high);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
inline double _mm512_reduce_add_pd(__m512d a) {
    const __m256d four = _mm256_add_pd(a.low, a.high);
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

// ---- products of bytes, unsigned x signed ----

inline __m256i _mm256_dpbusd_epi32(__m256i sums, __m256i a, __m256i b) {
    const __m256i even_a = _mm256_and_si256(a, _mm256_set1_epi16(0xff)), odd_a = _mm256_srli_epi16(a, 8);
    const __m256i even_b = _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8), odd_b = _mm256_srai_epi16(b, 8);
    const __m256i products = _mm256_add_epi32(_mm256_madd_epi16(even_a, even_b), _mm256_madd_epi16(odd_a, odd_b));
    return _mm256_add_epi32(sums, products);
}
inline __m512i _mm512_dpbusd_epi32(__m512i sums, __m512i a, __m512i b) {
    return {_mm256_dpbusd_epi32(sums.low, a.low, b.low), _mm256_dpbusd_epi32(sums.high, a.high, b.high)};
}

// ---- bf16: numbers below 2^-126 are 0, going in and coming out ----

inline __m256 without_subnormals(__m256 a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    const __m256 is_small = _mm256_cmp_ps(_mm256_andnot_ps(sign, a), _mm256_set1_ps(0x1p-126f), _CMP_LT_OQ);
    return _mm256_blendv_ps(a, _mm256_and_ps(sign, a), is_small);
}
// To nearest, ties to even; of NaN the top bits, made quiet.
inline __m256i rounded_bf16(__m256 a) {
    const __m256i bits = _mm256_castps_si256(without_subnormals(a));
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    return _mm256_srli_epi32(_mm256_blendv_epi8(up, quiet, is_nan), 16);
}
inline __m256i _mm512_cvtneps_pbh(__m512 a) {
    return _mm512_cvtepi32_epi16({rounded_bf16(a.low), rounded_bf16(a.high)});
}
// The second product of each pair is added first.
inline __m256 dot_bf16(__m256 sums, __m256i a, __m256i b) {
    const auto first = [](__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); };
    const auto second = [](__m256i pairs) {
        return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xffff0000))));
    };
    const auto add_product = [&](__m256 x, __m256 y) {
        sums = _mm256_fmadd_ps(without_subnormals(x), without_subnormals(y), without_subnormals(sums));
        sums = without_subnormals(sums);
    };
    add_product(second(a), second(b));
    add_product(first(a), first(b));
    return sums;
}
inline __m512 _mm512_dpbf16_ps(__m512 sums, __m512bh a, __m512bh b) {
    return {dot_bf16(sums.low, a.low, b.low), dot_bf16(sums.high, a.high, b.high)};
}

}  // namespace
}  // namespace nextword

#endif
