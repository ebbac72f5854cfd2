// Matrices of weights as the kernels read them: panels of 32 output rows, each one contiguous stream of bytes. One
// activation is multiplied with 16 rows in one vector, and no sum ever runs across a vector.

#ifndef NEXTWORD_TENSOR_H
#define NEXTWORD_TENSOR_H

#include <cstddef>
#include <cstdint>
#include <memory>

#include "weight_kind.h"

namespace nextword {

struct Unmap {
    size_t num_bytes = 0;
    void operator()(void* memory) const;
};

// Memory for large arrays: zeroed, on huge pages where the system has them, freed by the destructor.
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(size_t num_bytes);

    uint8_t* data() const { return static_cast<uint8_t*>(memory_.get()); }
    size_t size() const { return memory_.get_deleter().num_bytes; }

private:
    std::unique_ptr<void, Unmap> memory_;
};

// (rows, columns) weights, rows padded to whole panels and columns to whole units, both with zeros.
struct Matrix {
    WeightKind kind = WeightKind::F32;
    int rows = 0;
    int columns = 0;
    Buffer bytes;

    Matrix() = default;
    Matrix(WeightKind kind, int rows, int columns);

    int num_panels() const { return ceil_div(rows, kPanelRows); }
    int num_groups() const { return ceil_div(columns, kGroup); }
    int num_units() const { return ceil_div(columns, unit_columns(kind)); }
    size_t panel_bytes() const { return unit_bytes(kind) * num_units(); }
    uint8_t* panel(int index) const { return bytes.data() + panel_bytes() * index; }
};

}  // namespace nextword

#endif
