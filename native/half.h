// Numbers of 16 bits, one at a time: for packing weights and for machines without instructions of their own for them.

#ifndef NEXTWORD_HALF_H
#define NEXTWORD_HALF_H

#include <cstdint>
#include <cstring>

namespace nextword {

inline uint32_t bits_of(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float float_of(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline bool are_finite(const float* values, int count) {
    bool are = true;
    for (int i = 0; i < count; ++i) are &= (bits_of(values[i]) & 0x7f800000u) != 0x7f800000u;
    return are;
}

// Numbers of 16 bits at any address.
inline uint16_t load_half(const uint8_t* bytes) {
    uint16_t half;
    std::memcpy(&half, bytes, sizeof half);
    return half;
}

inline void store_half(uint8_t* bytes, uint16_t half) { std::memcpy(bytes, &half, sizeof half); }

// The nearest bfloat16, ties to even. NaN stays NaN.
inline uint16_t to_bf16(float value) {
    const uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fc0;
    return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float from_bf16(uint16_t half) { return float_of(static_cast<uint32_t>(half) << 16); }

inline bool is_finite_fp16(uint16_t half) { return (half & 0x7c00u) != 0x7c00u; }

inline float from_fp16(uint16_t half) {
    // Without a branch, so that loops of it become vectors, and without float32 below its normal range, which a thread
    // may be set to flush to zero. A number below the normal range of fp16 is a count of 2^-24, the last bit of 0.5.
    const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16, magnitude = half & 0x7fffu;
    const uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u : 0u;
    const uint32_t small = bits_of(float_of(bits_of(0.5f) + magnitude) - 0.5f);
    return float_of(sign | special | (magnitude < 0x400u ? small : (magnitude << 13) + 0x38000000u));
}

// The nearest fp16, ties to even; beyond its range, infinity.
inline uint16_t to_fp16(float value) {
    const uint32_t bits = bits_of(value), magnitude = bits & 0x7fffffffu;
    const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
    if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
    if (magnitude < 0x38800000u) {
        // Below the normal range the result is a count of 2^-24; adding 0.5 lines that unit up with the last bit.
        const float shifted = float_of(magnitude) + 0.5f;
        return static_cast<uint16_t>(sign | (bits_of(shifted) - bits_of(0.5f)));
    }
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

}  // namespace nextword

#endif
