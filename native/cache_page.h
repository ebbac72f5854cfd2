// A page of the KV cache, for one layer and one key-value head: the keys and values of 32 positions, as the kernels
// read them.
//
// F32, BF16: keys (head_dim, 32 positions), values (32 positions, value_stride).
// Q8: keys as a Q8 panel of tensor.h whose 32 rows are the positions and whose columns are the dimensions; values
// (8 quads, value_stride, 4 positions) int8, then 32 float scales, one for each position.

#ifndef NEXTWORD_CACHE_PAGE_H
#define NEXTWORD_CACHE_PAGE_H

#include <cstddef>
#include <cstdint>

#include "tensor.h"

namespace nextword {

enum class CacheKind { F32, BF16, Q8 };

constexpr int kPagePositions = 32;
static_assert(kPagePositions == kPanelRows, "a page of Q8 keys is one panel");

struct PageShape {
    CacheKind kind = CacheKind::F32;
    int head_dim = 0;

    constexpr int value_stride() const { return ceil_div(head_dim, kLanes) * kLanes; }
    constexpr size_t element_bytes() const { return kind == CacheKind::F32 ? 4 : kind == CacheKind::BF16 ? 2 : 1; }
    constexpr size_t keys_bytes() const {
        return kind == CacheKind::Q8 ? unit_bytes(WeightKind::Q8) * ceil_div(head_dim, kGroup)
                                     : element_bytes() * kPagePositions * head_dim;
    }
    // Of the values alone, without what stands behind them.
    constexpr size_t elements_bytes() const { return element_bytes() * kPagePositions * value_stride(); }
    constexpr size_t values_bytes() const {
        return elements_bytes() + (kind == CacheKind::Q8 ? kPagePositions * sizeof(float) : 0);
    }
    // Of both, the values behind the keys, in whole cache lines.
    constexpr size_t bytes() const { return (keys_bytes() + values_bytes() + 63) / 64 * 64; }
};

}  // namespace nextword

#endif
