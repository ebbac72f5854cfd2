// What stands in a page of the KV cache, number by number.

#ifndef NEXTWORD_TESTS_READ_PAGE_H
#define NEXTWORD_TESTS_READ_PAGE_H

#include "cache_page.h"
#include "half.h"

namespace nextword {

inline float element_at(const PageShape& page, const uint8_t* from, int index) {
    if (page.kind == CacheKind::F32) return reinterpret_cast<const float*>(from)[index];
    if (page.kind == CacheKind::BF16) return from_bf16(reinterpret_cast<const uint16_t*>(from)[index]);
    return static_cast<float>(reinterpret_cast<const int8_t*>(from)[index]);
}

inline float key_at(const PageShape& page, const uint8_t* keys, int slot, int d) {
    if (page.kind != CacheKind::Q8) return element_at(page, keys, d * kPagePositions + slot);
    const uint8_t* group = keys + d / kGroup * unit_bytes(WeightKind::Q8);
    const int quad = d % kGroup / 4;
    const uint8_t biased = group[kPanelRows * 2 + (quad * kPanelRows + slot) * 4 + d % 4];
    return from_fp16(reinterpret_cast<const uint16_t*>(group)[slot]) * static_cast<float>(biased - 128);
}

inline float value_at(const PageShape& page, const uint8_t* values, int slot, int d) {
    if (page.kind != CacheKind::Q8) return element_at(page, values, slot * page.value_stride() + d);
    const float element = element_at(page, values, (slot / 4 * page.value_stride() + d) * 4 + slot % 4);
    return reinterpret_cast<const float*>(values + page.elements_bytes())[slot] * element;
}

}  // namespace nextword

#endif
