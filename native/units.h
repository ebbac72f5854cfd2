// One row's part of a unit of a panel, in and out: see weight_kind.h.

#ifndef NEXTWORD_UNITS_H
#define NEXTWORD_UNITS_H

#include <cstdint>
#include <cstring>

#include "blocks.h"
#include "half.h"
#include "weight_kind.h"

namespace nextword {

constexpr int kQuadsInGroup = kGroup / 4;

// `width` bits of each of four bytes, from bit `from` on.
constexpr uint32_t four_fields(uint32_t four, int from, int width) {
    return four >> from & ((1u << width) - 1) * 0x01010101u;
}

// A group of 32 integers into planes, the first bytes of which for this row lie at `at`; or out of them.
template <int bits, int low = 0>
void put_planes(uint8_t* at, const uint32_t (&quads)[kQuadsInGroup]) {
    constexpr int width = widest_plane(bits);
    for (int word = 0; word < width; ++word) {
        uint32_t fields = 0;
        for (int quad = word; quad < kQuadsInGroup; quad += width) {
            fields |= four_fields(quads[quad], low, width) << quad / width * width;
        }
        std::memcpy(at + word * kPanelRows * 4, &fields, 4);
    }
    if constexpr (bits > width) put_planes<bits - width, low + width>(at + width * kPanelRows * 4, quads);
}

template <int bits, int low = 0>
void get_planes(const uint8_t* at, uint32_t (&quads)[kQuadsInGroup]) {
    constexpr int width = widest_plane(bits);
    for (int quad = 0; quad < kQuadsInGroup; ++quad) {
        uint32_t fields;
        std::memcpy(&fields, at + quad % width * kPanelRows * 4, 4);
        quads[quad] |= four_fields(fields, quad / width * width, width) << low;
    }
    if constexpr (bits > width) get_planes<bits - width, low + width>(at + width * kPanelRows * 4, quads);
}

// Row number `at` of the unit.
template <WeightKind kind>
void put_unit(uint8_t* unit, int at, const UnitRow& row) {
    constexpr KindTraits t = traits(kind);
    store_half(unit + at * 2, row.scale);
    if (t.has_minimum) store_half(unit + (kPanelRows + at) * 2, row.minimum);
    uint8_t* sub_scales = unit + kPanelRows * (t.has_minimum ? 4 : 2) + at;
    for (int i = 0; i < t.unit_groups * t.sub_bytes(); ++i) sub_scales[i * kPanelRows] = row.sub_scales[i];
    for (int group = 0; group < t.unit_groups; ++group) {
        uint32_t quads[kQuadsInGroup];
        std::memcpy(quads, row.integers + group * kGroup, sizeof quads);
        put_planes<t.bits>(unit + t.header_bytes() + group * t.group_bytes() + at * 4, quads);
    }
}

template <WeightKind kind>
void get_unit(const uint8_t* unit, int at, UnitRow& row) {
    constexpr KindTraits t = traits(kind);
    row.scale = load_half(unit + at * 2);
    row.minimum = t.has_minimum ? load_half(unit + (kPanelRows + at) * 2) : 0;
    const uint8_t* sub_scales = unit + kPanelRows * (t.has_minimum ? 4 : 2) + at;
    for (int i = 0; i < t.unit_groups * t.sub_bytes(); ++i) row.sub_scales[i] = sub_scales[i * kPanelRows];
    for (int group = 0; group < t.unit_groups; ++group) {
        uint32_t quads[kQuadsInGroup] = {};
        get_planes<t.bits>(unit + t.header_bytes() + group * t.group_bytes() + at * 4, quads);
        std::memcpy(row.integers + group * kGroup, quads, sizeof quads);
    }
}

// The weights of a row. The products are exact, so each is rounded once, where a minimum is added.
template <WeightKind kind>
void row_weights(const UnitRow& row, float* out) {
    constexpr KindTraits t = traits(kind);
    constexpr int span_columns = kGroup / t.spans;
    const float scale = from_fp16(row.scale), minimum = from_fp16(row.minimum);
    for (int column = 0; column < t.unit_groups * kGroup; ++column) {
        const uint8_t* subs = row.sub_scales + column / kGroup * t.sub_bytes();
        const uint8_t sub = subs[column % kGroup / span_columns];
        float span_scale = scale, span_minimum = minimum;
        if (t.sub_scales == SubScales::Bytes) {
            span_scale *= static_cast<float>(static_cast<int8_t>(sub));
            if (t.has_minimum) span_minimum *= static_cast<float>(subs[t.spans]);
        } else if (t.sub_scales == SubScales::Nibbles) {
            span_scale *= static_cast<float>(sub & 15);
            span_minimum *= static_cast<float>(sub >> 4);
        }
        const int integer = t.is_table ? kIQ4Values[row.integers[column]] : row.integers[column];
        out[column] = span_scale * static_cast<float>(integer - t.offset);
        if (t.has_minimum) out[column] += span_minimum;
    }
}

}  // namespace nextword

#endif
