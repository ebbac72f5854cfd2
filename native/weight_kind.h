// The formats in which matrices of weights are held, described once: packing, unpacking and the kernels follow it.
//
// A panel of 32 rows is a sequence of units. Floats: a unit is a column. Integers: a unit is a group of 32 columns, or,
// for GGUF's kinds of 256, eight of them. It holds
//   32 fp16 scales, and 32 fp16 minimums if the kind has them;
//   if it has eight groups: for each group, sub-scales and sub-minimums, 32 bytes of each;
//   for each group, the integers of `bits` bits.
// A weight is scale * sub_scale * (integer - offset) + minimum * sub_minimum; for the IQ kinds the integer is found in
// a table.
//
// The integers lie in planes of 8, 4, 2 and 1 bits, the widest first, which holds their lowest bits: 6 bits are a plane
// of 4 and one of 2. The group's 8 quads of columns lie in a plane of b bits as b x 32 rows x 4 bytes: quad number q in
// bytes q % b, from bit q / b * b on.

#ifndef NEXTWORD_WEIGHT_KIND_H
#define NEXTWORD_WEIGHT_KIND_H

#include <cstddef>
#include <cstdint>

namespace nextword {

constexpr int kLanes = 16;      // numbers in a vector, the same on every instruction set
constexpr int kPanelRows = 32;  // output rows of a panel: two vectors
constexpr int kGroup = 32;      // columns that are multiplied as integers

enum class WeightKind { F32, F16, BF16, Q8, Q4, Q4Min, Q5, Q5Min, IQ4, Q2K, Q3K, Q4K, Q5K, Q6K, IQ4XS };
constexpr int kNumWeightKinds = static_cast<int>(WeightKind::IQ4XS) + 1;

constexpr bool is_quantized(WeightKind kind) { return kind > WeightKind::BF16; }

constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// Scales of a unit's groups beside its fp16 numbers.
enum class SubScales {
    None,    // the unit is one group
    Bytes,   // int8, of each span; then, if the kind has minimums, one for the group
    Nibbles  // of each span a byte: the scale in its low half, the minimum in its high half
};

struct KindTraits {
    int bits;               // of an integer
    int offset;             // by which integers are raised; 128 for the IQ kinds' table
    bool has_minimum;       // weights of GGUF's kinds of 256 have it with the sign changed
    bool is_table = false;  // integers are places in kIQ4Values
    int unit_groups = 1;    // groups that share the fp16 numbers
    SubScales sub_scales = SubScales::None;
    int spans = 1;  // parts of a group, of 32 or 16 columns, with sub-scales of their own

    constexpr int sub_bytes() const {
        if (sub_scales == SubScales::None) return 0;
        return spans + (sub_scales == SubScales::Bytes && has_minimum ? 1 : 0);
    }
    constexpr int header_bytes() const { return kPanelRows * (2 + (has_minimum ? 2 : 0) + unit_groups * sub_bytes()); }
    constexpr int group_bytes() const { return kPanelRows * kGroup / 8 * bits; }
};

constexpr KindTraits traits(WeightKind kind) {
    constexpr SubScales bytes = SubScales::Bytes, nibbles = SubScales::Nibbles;
    switch (kind) {
        case WeightKind::Q8: return {8, 128, false};
        case WeightKind::Q4: return {4, 8, false};
        case WeightKind::Q4Min: return {4, 0, true};
        case WeightKind::Q5: return {5, 16, false};
        case WeightKind::Q5Min: return {5, 0, true};
        case WeightKind::IQ4: return {4, 128, false, true};
        case WeightKind::Q2K: return {2, 0, true, false, 8, nibbles, 2};
        case WeightKind::Q3K: return {3, 4, false, false, 8, bytes, 2};
        case WeightKind::Q4K: return {4, 0, true, false, 8, bytes};
        case WeightKind::Q5K: return {5, 0, true, false, 8, bytes};
        case WeightKind::Q6K: return {6, 32, false, false, 8, bytes, 2};
        case WeightKind::IQ4XS: return {4, 128, false, true, 8, bytes};
        case WeightKind::F32:
        case WeightKind::F16:
        case WeightKind::BF16: break;
    }
    return {};
}

// Values of the integers of the IQ kinds, raised by 128: those of ggml's format.
constexpr uint8_t kIQ4Values[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};

// Bytes that a panel has for each unit.
constexpr size_t unit_bytes(WeightKind kind) {
    if (kind == WeightKind::F32) return kPanelRows * 4;
    if (kind == WeightKind::F16 || kind == WeightKind::BF16) return kPanelRows * 2;
    const KindTraits t = traits(kind);
    return t.header_bytes() + t.unit_groups * t.group_bytes();
}

// Bytes of integers for each group.
constexpr int group_share(WeightKind kind) { return static_cast<int>(unit_bytes(kind)) / traits(kind).unit_groups; }

// Columns of a unit.
constexpr int unit_columns(WeightKind kind) { return is_quantized(kind) ? traits(kind).unit_groups * kGroup : 1; }

// The widest plane of integers of so many bits.
constexpr int widest_plane(int bits) { return bits >= 8 ? 8 : bits >= 4 ? 4 : bits >= 2 ? 2 : 1; }

}  // namespace nextword

#endif
