// Blocks of GGUF files, as ggml defines them: rows are sequences of blocks of 32 or 256 values.

#ifndef NEXTWORD_BLOCKS_H
#define NEXTWORD_BLOCKS_H

#include <cstdint>
#include <cstring>

#include "half.h"
#include "weight_kind.h"

namespace nextword {

// The format of the bytes of a row: numbers, or blocks.
enum class Encoding { F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_XS };

constexpr bool is_block(Encoding encoding) { return encoding > Encoding::BF16; }

struct BlockSize {
    int values, bytes;
};

// The size of a block; of one number for encodings without blocks.
constexpr BlockSize block_size(Encoding encoding) {
    switch (encoding) {
        case Encoding::F32: return {1, 4};
        case Encoding::F16:
        case Encoding::BF16: return {1, 2};
        case Encoding::Q8_0: return {32, 34};
        case Encoding::Q4_0:
        case Encoding::IQ4_NL: return {32, 18};
        case Encoding::Q4_1: return {32, 20};
        case Encoding::Q5_0: return {32, 22};
        case Encoding::Q5_1: return {32, 24};
        case Encoding::Q2_K: return {256, 84};
        case Encoding::Q3_K: return {256, 110};
        case Encoding::Q4_K: return {256, 144};
        case Encoding::Q5_K: return {256, 176};
        case Encoding::Q6_K: return {256, 210};
        case Encoding::IQ4_XS: return {256, 136};
    }
    return {};
}

// The kind of matrix that holds the blocks of an encoding, or numbers, exactly.
constexpr WeightKind kind_of(Encoding encoding) {
    switch (encoding) {
        case Encoding::F32: return WeightKind::F32;
        case Encoding::F16: return WeightKind::F16;
        case Encoding::BF16: return WeightKind::BF16;
        case Encoding::Q8_0: return WeightKind::Q8;
        case Encoding::Q4_0: return WeightKind::Q4;
        case Encoding::Q4_1: return WeightKind::Q4Min;
        case Encoding::Q5_0: return WeightKind::Q5;
        case Encoding::Q5_1: return WeightKind::Q5Min;
        case Encoding::IQ4_NL: return WeightKind::IQ4;
        case Encoding::Q2_K: return WeightKind::Q2K;
        case Encoding::Q3_K: return WeightKind::Q3K;
        case Encoding::Q4_K: return WeightKind::Q4K;
        case Encoding::Q5_K: return WeightKind::Q5K;
        case Encoding::Q6_K: return WeightKind::Q6K;
        case Encoding::IQ4_XS: return WeightKind::IQ4XS;
    }
    return WeightKind::F32;
}

// The part of a panel's unit that belongs to one row, unpacked: see weight_kind.h. A block fills it.
struct UnitRow {
    uint16_t scale, minimum;  // fp16
    uint8_t sub_scales[16];   // group by group, with the sub-minimums
    uint8_t integers[256];
};

// ---- integers ----

// 16 bytes of two integers each: those of the low halves, then those of the high ones.
inline void read_nibbles(const uint8_t* from, uint8_t* out) {
    for (int i = 0; i < 16; ++i) {
        out[i] = from[i] & 15;
        out[i + 16] = static_cast<uint8_t>(from[i] >> 4);
    }
}

// The bits of `from`, the lowest first, as the fifth bits of 32 integers.
inline void add_fifth_bits(uint32_t from, uint8_t* out) {
    for (int i = 0; i < kGroup; i += 4) {
        uint32_t four;
        std::memcpy(&four, out + i, 4);
        four |= ((from >> i & 15) * 0x00204081u & 0x01010101u) << 4;  // each of four bits into a byte
        std::memcpy(out + i, &four, 4);
    }
}

// From each of `count` bytes, `bits` bits from bit `from` on, added to integers from bit `to` on.
template <int bits>
void add_bits(const uint8_t* bytes, int count, int from, int to, uint8_t* out) {
    for (int i = 0; i < count; ++i) {
        out[i] |= static_cast<uint8_t>((bytes[i] >> from & ((1 << bits) - 1)) << to);
    }
}

// ---- sub-scales ----

// Read the eight scales of 6 bits of Q4_K and Q5_K, each beside its minimum.
inline void read_six_bit_pairs(const uint8_t* from, uint8_t* out) {
    for (int i = 0; i < 4; ++i) {
        const uint8_t scale = from[i], minimum = from[i + 4], rest = from[i + 8];
        out[2 * i] = scale & 63;
        out[2 * i + 1] = minimum & 63;
        out[2 * i + 8] = static_cast<uint8_t>((rest & 15) | (scale >> 6 << 4));
        out[2 * i + 9] = static_cast<uint8_t>((rest >> 4) | (minimum >> 6 << 4));
    }
}

// Read the sixteen scales of 6 bits of Q3_K, raised by 32. Four bits of each come first, then the higher two.
inline void read_six_bit_scales(const uint8_t* from, uint8_t* out) {
    for (int i = 0; i < 16; ++i) {
        const int low = from[i % 8] >> (i / 8 * 4) & 15, high = from[8 + i % 4] >> (i / 4 * 2) & 3;
        out[i] = static_cast<uint8_t>((low | high << 4) - 32);
    }
}

// Read the eight scales of 6 bits of IQ4_XS, raised by 32: the higher two bits of all, then the lower four.
inline void read_split_scales(uint16_t high, const uint8_t* low, uint8_t* out) {
    for (int i = 0; i < 8; ++i) {
        const int four = low[i / 2] >> (i % 2 * 4) & 15;
        out[i] = static_cast<uint8_t>((four | (high >> 2 * i & 3) << 4) - 32);
    }
}

// ---- blocks ----

constexpr uint16_t kSignBit = 0x8000;

inline void read_q8_0(const uint8_t* from, UnitRow& row) {
    row.scale = load_half(from);
    for (int i = 0; i < kGroup; ++i) row.integers[i] = from[2 + i] ^ 0x80;  // signed to raised by 128
}

// Q4_0 and IQ4_NL; Q4_1; Q5_0; Q5_1: fp16 scale, perhaps an fp16 minimum, perhaps 32 fifth bits, nibbles.
template <bool has_minimum, bool has_fifth_bits>
void read_small_block(const uint8_t* from, UnitRow& row) {
    row.scale = load_half(from);
    if (has_minimum) row.minimum = load_half(from + 2);
    from += has_minimum ? 4 : 2;
    read_nibbles(from + (has_fifth_bits ? 4 : 0), row.integers);
    if (!has_fifth_bits) return;
    uint32_t bits;
    std::memcpy(&bits, from, 4);
    add_fifth_bits(bits, row.integers);
}

// Q2_K: 16 bytes of sub-scales, 64 of integers, scale, minimum.
inline void read_q2_k(const uint8_t* from, UnitRow& row) {
    std::memcpy(row.sub_scales, from, 16);
    std::memset(row.integers, 0, 256);
    for (int group = 0; group < 8; ++group) {
        add_bits<2>(from + 16 + group / 4 * 32, 32, group % 4 * 2, 0, row.integers + group * kGroup);
    }
    row.scale = load_half(from + 80);
    row.minimum = load_half(from + 82) ^ kSignBit;
}

// Q3_K: 32 bytes of third bits, 64 of lower bits, 12 of sub-scales, scale.
inline void read_q3_k(const uint8_t* from, UnitRow& row) {
    std::memset(row.integers, 0, 256);
    for (int group = 0; group < 8; ++group) {
        add_bits<2>(from + 32 + group / 4 * 32, 32, group % 4 * 2, 0, row.integers + group * kGroup);
        add_bits<1>(from, 32, group, 2, row.integers + group * kGroup);
    }
    read_six_bit_scales(from + 96, row.sub_scales);
    row.scale = load_half(from + 108);
}

// Q4_K, Q5_K: scale, minimum, 12 bytes of sub-scales, perhaps 32 of fifth bits, 128 of nibbles.
template <bool has_fifth_bits>
void read_q45_k(const uint8_t* from, UnitRow& row) {
    row.scale = load_half(from);
    row.minimum = load_half(from + 2) ^ kSignBit;
    read_six_bit_pairs(from + 4, row.sub_scales);
    const uint8_t* nibbles = from + (has_fifth_bits ? 48 : 16);
    std::memset(row.integers, 0, 256);
    for (int group = 0; group < 8; ++group) {
        uint8_t* out = row.integers + group * kGroup;
        add_bits<4>(nibbles + group / 2 * 32, 32, group % 2 * 4, 0, out);
        if (has_fifth_bits) add_bits<1>(from + 16, 32, group, 4, out);
    }
}

// Q6_K: 128 bytes of lower bits, 64 of the higher two, 16 sub-scales, scale.
inline void read_q6_k(const uint8_t* from, UnitRow& row) {
    std::memset(row.integers, 0, 256);
    for (int group = 0; group < 8; ++group) {
        uint8_t* out = row.integers + group * kGroup;
        add_bits<4>(from + group / 4 * 64 + group % 2 * 32, 32, group % 4 / 2 * 4, 0, out);
        add_bits<2>(from + 128 + group / 4 * 32, 32, group % 4 * 2, 4, out);
    }
    std::memcpy(row.sub_scales, from + 192, 16);
    row.scale = load_half(from + 208);
}

// IQ4_XS: scale, 2 bytes of the sub-scales' higher bits, 4 of their lower ones, 128 of nibbles.
inline void read_iq4_xs(const uint8_t* from, UnitRow& row) {
    row.scale = load_half(from);
    read_split_scales(load_half(from + 2), from + 4, row.sub_scales);
    for (int group = 0; group < 8; ++group) read_nibbles(from + 8 + group * 16, row.integers + group * kGroup);
}

template <Encoding encoding>
void read_block(const uint8_t* from, UnitRow& row) {
    switch (encoding) {
        case Encoding::Q8_0: return read_q8_0(from, row);
        case Encoding::Q4_0:
        case Encoding::IQ4_NL: return read_small_block<false, false>(from, row);
        case Encoding::Q4_1: return read_small_block<true, false>(from, row);
        case Encoding::Q5_0: return read_small_block<false, true>(from, row);
        case Encoding::Q5_1: return read_small_block<true, true>(from, row);
        case Encoding::Q2_K: return read_q2_k(from, row);
        case Encoding::Q3_K: return read_q3_k(from, row);
        case Encoding::Q4_K: return read_q45_k<false>(from, row);
        case Encoding::Q5_K: return read_q45_k<true>(from, row);
        case Encoding::Q6_K: return read_q6_k(from, row);
        case Encoding::IQ4_XS: return read_iq4_xs(from, row);
        case Encoding::F32:
        case Encoding::F16:
        case Encoding::BF16: return;
    }
}

}  // namespace nextword

#endif
