// Matrices of weights as the kernels read them: panels of 32 output rows, each one contiguous stream of bytes.
//
// A panel holds, for one column (F32, F16, BF16) or each group of 32 columns (Q8, Q4, Q4Min) after the other, what all
// its rows need. One activation is multiplied with 16 rows in one vector, and no sum ever runs across a vector.

#ifndef NEXTWORD_TENSOR_H
#define NEXTWORD_TENSOR_H

#include <cstddef>
#include <cstdint>
#include <memory>

namespace nextword {

constexpr int kLanes = 16;      // numbers in a vector, the same on every instruction set
constexpr int kPanelRows = 32;  // output rows of a panel: two vectors
constexpr int kGroup = 32;      // columns that share a scale

enum class WeightKind {
    F32,    // 32 floats for each column
    F16,    // 32 fp16 for each column
    BF16,   // 32 bfloat16 for each column
    Q8,     // for each group: 32 fp16 scales; 8 x 32 x 4 bytes, each the value + 128
    Q4,     // for each group: 32 fp16 scales; 4 x 32 x 4 bytes, low half columns 0-15, high half 16-31, value + 8
    Q4Min,  // as Q4, with 32 fp16 minimums after the scales, and the value unsigned
};

constexpr bool is_quantized(WeightKind kind) { return kind > WeightKind::BF16; }

constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// Bytes that a panel has for each column, or for each group of columns.
constexpr size_t unit_bytes(WeightKind kind) {
    switch (kind) {
        case WeightKind::F32: return kPanelRows * 4;
        case WeightKind::F16:
        case WeightKind::BF16: return kPanelRows * 2;
        case WeightKind::Q8: return kPanelRows * (2 + kGroup);
        case WeightKind::Q4: return kPanelRows * (2 + kGroup / 2);
        case WeightKind::Q4Min: return kPanelRows * (4 + kGroup / 2);
    }
    return 0;
}

struct Unmap {
    size_t num_bytes = 0;
    void operator()(void* memory) const;
};

constexpr size_t kHugePage = size_t{1} << 21;

// Memory for large arrays: zeroed, on huge pages where the system has them, freed by the destructor.
class Buffer {
public:
    Buffer() = default;
    // Whole huge pages begin at the beginning of one, so that all of them can be huge.
    explicit Buffer(size_t num_bytes);

    uint8_t* data() const { return static_cast<uint8_t*>(memory_.get()); }
    size_t size() const { return memory_.get_deleter().num_bytes; }

private:
    std::unique_ptr<void, Unmap> memory_;
};

// Release the physical memory until it is used again; the content is then lost or kept.
void discard_memory(void* memory, size_t num_bytes);

// Return freed heap memory to the system (malloc_trim), where the C library can.
void trim_heap();

// (rows, columns) weights, rows padded to whole panels and quantised columns to whole groups, both with zeros.
struct Matrix {
    WeightKind kind = WeightKind::F32;
    int rows = 0;
    int columns = 0;
    Buffer bytes;

    Matrix() = default;
    Matrix(WeightKind kind, int rows, int columns);

    int num_panels() const { return ceil_div(rows, kPanelRows); }
    int num_groups() const { return ceil_div(columns, kGroup); }
    size_t panel_bytes() const { return unit_bytes(kind) * (is_quantized(kind) ? num_groups() : columns); }
    uint8_t* panel(int index) const { return bytes.data() + panel_bytes() * index; }
};

}  // namespace nextword

#endif
