// Rows of elements, float32 or bf16, as vectors of float32.

#ifndef NEXTWORD_TRAINING_ROWS_IMPL_H
#define NEXTWORD_TRAINING_ROWS_IMPL_H

#include <algorithm>
#include <cstring>

#include "half.h"
#include "math_impl.h"
#include "training.h"

namespace nextword {
namespace {

F load_element(const float* from) { return Simd::load(from); }
F load_element(const uint16_t* from) { return Simd::load_bf16(from); }
void store_element(float* to, F value) { Simd::store(to, value); }
void store_element(uint16_t* to, F value) { Simd::store_bf16(to, value); }
float one_element(float value) { return value; }
float one_element(uint16_t value) { return from_bf16(value); }

// The last, incomplete vector of a row; `filler` stands in what is missing.
template <class Element>
F load_some(const Element* from, int64_t count, float filler) {
    Element raw[kLanes] = {};
    std::memcpy(raw, from, static_cast<size_t>(count) * sizeof(Element));
    float lanes[kLanes];
    Simd::store(lanes, load_element(raw));
    std::fill(lanes + count, lanes + kLanes, filler);
    return Simd::load(lanes);
}

template <class Element>
void store_some(Element* to, F value, int64_t count) {
    Element raw[kLanes];
    store_element(raw, value);
    std::memcpy(to, raw, static_cast<size_t>(count) * sizeof(Element));
}

// visit(position, load, store) for each vector from first to last: load(row) is the vector of a row, and store(row,
// value) writes it.
template <class Visit>
[[gnu::always_inline]] inline void by_vectors(int64_t first, int64_t last, float filler, const Visit& visit) {
    int64_t i = first;
    for (; i + kLanes <= last; i += kLanes) {
        visit([&](const auto* row) { return load_element(row + i); },
              [&](auto* row, F value) { store_element(row + i, value); });
    }
    const int64_t count = last - i;
    if (count <= 0) return;
    visit([&](const auto* row) { return load_some(row + i, count, filler); },
          [&](auto* row, F value) { store_some(row + i, value, count); });
}

}  // namespace
}  // namespace nextword

#endif
