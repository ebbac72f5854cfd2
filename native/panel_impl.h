// Groups of a panel's quantised weights, for the products: their integers as bytes, and what scales them.

#ifndef NEXTWORD_PANEL_IMPL_H
#define NEXTWORD_PANEL_IMPL_H

#include <cstddef>
#include <utility>

#include "math_impl.h"

namespace nextword {
namespace {

constexpr int kQuads = kGroup / 4;
constexpr int kHalves = kPanelRows / kLanes;  // of a panel, 16 rows each

// ---- a group as the panel holds it ----

// Quad number `quad` of the rows of one half, integers of `bits` bits, to be shifted left by `low` bits.
template <int bits, int quad, int low = 0>
[[gnu::always_inline]] inline Simd::Bytes load_planes(const uint8_t* planes, int half) {
    constexpr int width = widest_plane(bits);
    const Simd::Bytes plane = Simd::load_bytes(planes + (quad % width * kPanelRows + half * kLanes) * 4);
    if constexpr (width == 8) return plane;
    const Simd::Bytes part = Simd::field<width, quad / width * width, low>(plane);
    if constexpr (bits <= width) {
        return part;
    } else {
        const uint8_t* const next = planes + kPanelRows * 4 * width;
        return Simd::either(part, load_planes<bits - width, quad, low + width>(next, half));
    }
}

template <WeightKind kind, int quad>
[[gnu::always_inline]] inline Simd::Bytes load_integers(const uint8_t* group, int half) {
    const Simd::Bytes integers = load_planes<traits(kind).bits, quad>(group, half);
    return traits(kind).is_table ? Simd::look_up(integers, kIQ4Values) : integers;
}

// Quads whose products are added in 16 bits, if the vectors do that: as many of a span as stay below 2^15.
constexpr int narrow_quads(KindTraits kind) {
    if (!Simd::kAddsPairs || kind.offset == 128) return 1;
    const int largest_pair = 2 * 127 * ((1 << kind.bits) - 1);
    int quads = kQuads / kind.spans;
    while (quads * largest_pair >= 1 << 15) quads /= 2;
    return quads;
}

// A unit of a panel, as a product reads it.
template <WeightKind kind>
class PanelUnit {
public:
    static constexpr KindTraits kTraits = traits(kind);
    static constexpr int kSpans = kTraits.spans;
    static constexpr bool kHasMinimum = kTraits.has_minimum, kIsRaised = kTraits.offset == 128, kHasOctets = false;
    static constexpr int kNarrowQuads = narrow_quads(kTraits);

    [[gnu::always_inline]] explicit PanelUnit(const uint8_t* unit)
        : unit_(unit),
          scales_{load_halves(0, 0), load_halves(0, 1)},
          minimums_{load_halves(kHasMinimum, 0), load_halves(kHasMinimum, 1)} {}

    static constexpr int offset() { return kTraits.offset; }
    // Four columns of a group, of the rows of one half.
    template <int quad>
    [[gnu::always_inline]] Simd::Bytes integers(int group, int half) const {
        return load_integers<kind, quad>(unit_ + kTraits.header_bytes() + group * kTraits.group_bytes(), half);
    }
    [[gnu::always_inline]] F scale(int group, int span, int half) const {
        if constexpr (kTraits.sub_scales == SubScales::None) return scales_[half];
        const I both = load_sub_scales(group, span, half);
        const I sub_scale = kTraits.sub_scales == SubScales::Nibbles ? Simd::low_bits<4>(both) : both;
        return Simd::mul(scales_[half], Simd::to_float(sub_scale));
    }
    [[gnu::always_inline]] F minimum(int group, int span, int half) const {
        if constexpr (kTraits.sub_scales == SubScales::None) return minimums_[half];
        constexpr bool is_nibble = kTraits.sub_scales == SubScales::Nibbles;
        const I both = load_sub_scales(group, is_nibble ? span : kSpans, half);
        const I sub_minimum = is_nibble ? Simd::low_bits<4>(Simd::shift_right<4>(both)) : both;
        return Simd::mul(minimums_[half], Simd::to_float(sub_minimum));
    }

private:
    F load_halves(int at, int half) const {
        return Simd::load_fp16(reinterpret_cast<const uint16_t*>(unit_) + at * kPanelRows + half * kLanes);
    }
    I load_sub_scales(int group, int at, int half) const {
        const uint8_t* begin = unit_ + kPanelRows * (kHasMinimum ? 4 : 2);
        return Simd::load_int8(begin + (group * kTraits.sub_bytes() + at) * kPanelRows + half * kLanes);
    }

    const uint8_t* unit_;
    F scales_[kHalves], minimums_[kHalves];
};

// ---- groups taken apart, for many tokens ----

// Groups that are taken apart together: with the running sums of the tokens they stay in the first cache.
constexpr int kUnpackedGroups = 16;

// Some groups of a panel as bytes and floats, with the interface of PanelUnit: all that the product of a prompt's
// tokens reads, whatever the kind.
template <int spans, bool has_minimum, bool is_raised, int narrow_quads>
struct UnpackedUnit {
    static constexpr int kSpans = spans, kNarrowQuads = narrow_quads;
    static constexpr bool kHasMinimum = has_minimum, kIsRaised = is_raised, kHasOctets = Simd::kMultipliesOctets;

    // Octets, where vectors multiply them: each has the place of two quads, one half of the rows after the other.
    alignas(64) uint8_t quads[kUnpackedGroups][kQuads][kPanelRows * 4];
    alignas(64) float scales[kUnpackedGroups][spans][kPanelRows];
    alignas(64) float minimums[has_minimum ? kUnpackedGroups : 1][spans][kPanelRows];
    int raised_by;

    int offset() const { return raised_by; }
    template <int quad>
    Simd::Bytes integers(int group, int half) const {
        static_assert(quad >= 0 && !kHasOctets, "it is read by octets");
        return Simd::load_bytes(quads[group][quad] + half * kLanes * 4);
    }
    // Eight columns of the group, of the rows of one half.
    const uint8_t* octets(int group, int octet, int half) const { return quads[group][2 * octet + half]; }
    F scale(int group, int span, int half) const { return Simd::load(scales[group][span] + half * kLanes); }
    F minimum(int group, int span, int half) const { return Simd::load(minimums[group][span] + half * kLanes); }
};

template <class Unit>
using UnpackedOf = UnpackedUnit<Unit::kSpans, Unit::kHasMinimum, Unit::kIsRaised, Unit::kNarrowQuads>;

template <class Unit, int... quads>
[[gnu::always_inline]] inline void unpack_quads(const Unit& unit, int group, int half,
                                                uint8_t (&out)[kQuads][kPanelRows * 4],
                                                std::integer_sequence<int, quads...>) {
    (Simd::store_bytes(out[quads] + half * kLanes * 4, unit.template integers<quads>(group, half)), ...);
}

// `V` is Simd: a parameter, because not all vectors multiply octets.
template <class V, class Unit, int... octets>
[[gnu::always_inline]] inline void unpack_octets(const Unit& unit, int group, int half,
                                                 uint8_t (&out)[kQuads][kPanelRows * 4],
                                                 std::integer_sequence<int, octets...>) {
    (V::store_octets(out[2 * octets + half], unit.template integers<2 * octets>(group, half),
                     unit.template integers<2 * octets + 1>(group, half)),
     ...);
}

// Group number `group` of the unit, as number `to`.
template <class Unit>
[[gnu::always_inline]] inline void unpack_group(const Unit& unit, int group, int to, UnpackedOf<Unit>& out) {
    for (int half = 0; half < kHalves; ++half) {
        if constexpr (Simd::kMultipliesOctets) {
            unpack_octets<Simd>(unit, group, half, out.quads[to], std::make_integer_sequence<int, kQuads / 2>());
        } else {
            unpack_quads(unit, group, half, out.quads[to], std::make_integer_sequence<int, kQuads>());
        }
        for (int span = 0; span < Unit::kSpans; ++span) {
            Simd::store(out.scales[to][span] + half * kLanes, unit.scale(group, span, half));
            if constexpr (Unit::kHasMinimum) {
                Simd::store(out.minimums[to][span] + half * kLanes, unit.minimum(group, span, half));
            }
        }
    }
}

// Groups first to first + count of a panel, whole units.
template <WeightKind kind>
void unpack(const uint8_t* panel, int first, int count, UnpackedOf<PanelUnit<kind>>& out) {
    constexpr int unit_groups = traits(kind).unit_groups;
    static_assert(kUnpackedGroups % unit_groups == 0, "whole units are taken apart");
    out.raised_by = traits(kind).offset;
    for (int to = 0; to < count; to += unit_groups) {
        const PanelUnit<kind> unit(panel + (first + to) / unit_groups * unit_bytes(kind));
        for (int group = 0; group < unit_groups; ++group) unpack_group(unit, group, to + group, out);
    }
}

}  // namespace
}  // namespace nextword

#endif
