#include "pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "half.h"

namespace nextword {

namespace {

uint16_t half_at(const uint8_t* bytes) {
    uint16_t half;
    std::memcpy(&half, bytes, sizeof half);
    return half;
}

void put_half(uint8_t* bytes, uint16_t half) { std::memcpy(bytes, &half, sizeof half); }

// Where the four bytes of quad `quad` of a panel's row begin, in a group that starts at `group`.
uint8_t* quad_at(uint8_t* group, WeightKind kind, int quad, int lane) {
    const int header = kPanelRows * (kind == WeightKind::Q4Min ? 4 : 2);
    return group + header + (quad * kPanelRows + lane) * 4;
}

struct Groups {
    Matrix& matrix;
    int lane;
    uint8_t* panel;

    uint8_t* group(int index) const { return panel + unit_bytes(matrix.kind) * index; }
    void set_scale(int index, uint16_t half) const { put_half(group(index) + lane * 2, half); }
    void set_minimum(int index, uint16_t half) const { put_half(group(index) + (kPanelRows + lane) * 2, half); }
    // Four values of the group, stored as kind Q8 wants them.
    void set_bytes(int index, const uint8_t* values) const {
        for (int quad = 0; quad < 8; ++quad)
            std::memcpy(quad_at(group(index), matrix.kind, quad, lane), values + quad * 4, 4);
    }
    // 16 bytes of two values each: columns 0 to 15 in the low halves, 16 to 31 in the high ones.
    void set_nibbles(int index, const uint8_t* nibbles) const {
        for (int quad = 0; quad < 4; ++quad)
            std::memcpy(quad_at(group(index), matrix.kind, quad, lane), nibbles + quad * 4, 4);
    }
};

void copy_q8(const Groups& to, int group, const uint8_t* block) {
    uint8_t values[kGroup];
    for (int i = 0; i < kGroup; ++i) values[i] = static_cast<uint8_t>(block[2 + i] ^ 0x80);  // signed to value + 128
    to.set_scale(group, half_at(block));
    to.set_bytes(group, values);
}

void copy_q4(const Groups& to, int group, const uint8_t* block) {
    to.set_scale(group, half_at(block));
    to.set_nibbles(group, block + 2);
}

void copy_q4_min(const Groups& to, int group, const uint8_t* block) {
    to.set_scale(group, half_at(block));
    to.set_minimum(group, half_at(block + 2));
    to.set_nibbles(group, block + 4);
}

// The largest magnitude becomes 127.
void quantize_q8(const Groups& to, int group, const float* values) {
    float largest = 0.0f;
    for (int i = 0; i < kGroup; ++i) largest = std::max(largest, std::fabs(values[i]));
    const uint16_t scale = to_fp16(largest / 127.0f);
    const float inverse = from_fp16(scale) > 0.0f ? 1.0f / from_fp16(scale) : 0.0f;
    uint8_t bytes[kGroup];
    for (int i = 0; i < kGroup; ++i) {
        const float rounded = std::nearbyint(values[i] * inverse);
        bytes[i] = static_cast<uint8_t>(static_cast<int>(std::clamp(rounded, -127.0f, 127.0f)) + 128);
    }
    to.set_scale(group, scale);
    to.set_bytes(group, bytes);
}

struct NibbleFit {
    uint16_t scale = 0, minimum = 0;
    uint8_t values[kGroup] = {};
    float error = 0.0f;
};

NibbleFit fit_nibbles(const float* values, float low, float high) {
    NibbleFit fit;
    fit.scale = to_fp16((high - low) / 15.0f);
    fit.minimum = to_fp16(low);
    const float scale = from_fp16(fit.scale), minimum = from_fp16(fit.minimum);
    const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    for (int i = 0; i < kGroup; ++i) {
        const float rounded = std::clamp(std::nearbyint((values[i] - minimum) * inverse), 0.0f, 15.0f);
        const float distance = values[i] - (minimum + scale * rounded);
        fit.values[i] = static_cast<uint8_t>(rounded);
        fit.error += distance * distance;
    }
    return fit;
}

// Of some ranges between the lowest and the highest value, drawn in by as much as an eighth on each side, the one with
// the least squared error: a few values beyond the range cost less than a coarser step for all.
void quantize_q4_min(const Groups& to, int group, const float* values) {
    const auto [low, high] = std::minmax_element(values, values + kGroup);
    const float step = (*high - *low) / 64.0f;
    NibbleFit best = fit_nibbles(values, *low, *high);
    for (int below = 0; below <= 8; ++below) {
        for (int above = 0; above <= 8; ++above) {
            const NibbleFit fit = fit_nibbles(values, *low + step * below, *high - step * above);
            if (fit.error < best.error) best = fit;
        }
    }
    uint8_t nibbles[16];
    for (int i = 0; i < 16; ++i) nibbles[i] = static_cast<uint8_t>(best.values[i] | (best.values[i + 16] << 4));
    to.set_scale(group, best.scale);
    to.set_minimum(group, best.minimum);
    to.set_nibbles(group, nibbles);
}

void read_floats(Encoding encoding, const uint8_t* row, int columns, float* out) {
    for (int i = 0; i < columns; ++i) {
        switch (encoding) {
            case Encoding::F32: std::memcpy(out + i, row + i * 4, 4); break;
            case Encoding::F16: out[i] = from_fp16(half_at(row + i * 2)); break;
            case Encoding::BF16: out[i] = from_bf16(half_at(row + i * 2)); break;
            default: throw std::invalid_argument("blocks of this encoding are not read as floats here");
        }
    }
}

void pack_floats(const Groups& to, const float* values) {
    const Matrix& matrix = to.matrix;
    for (int column = 0; column < matrix.columns; ++column) {
        uint8_t* unit = to.panel + unit_bytes(matrix.kind) * column;
        if (matrix.kind == WeightKind::F32) std::memcpy(unit + to.lane * 4, values + column, 4);
        if (matrix.kind == WeightKind::F16) put_half(unit + to.lane * 2, to_fp16(values[column]));
        if (matrix.kind == WeightKind::BF16) put_half(unit + to.lane * 2, to_bf16(values[column]));
    }
}

// Values that stay as they are, one to each column.
template <class Value>
void copy_floats(const Groups& to, const uint8_t* row) {
    uint8_t* target = to.panel + to.lane * sizeof(Value);
    for (int column = 0; column < to.matrix.columns; ++column) {
        std::memcpy(target + column * kPanelRows * sizeof(Value), row + column * sizeof(Value), sizeof(Value));
    }
}

void pack_row(const Groups& to, Encoding encoding, const uint8_t* row, std::vector<float>& values) {
    const Matrix& matrix = to.matrix;
    if (is_same(matrix.kind, encoding) && is_quantized(matrix.kind)) {
        const size_t block = row_bytes(encoding, kGroup);
        for (int group = 0; group < matrix.num_groups(); ++group) {
            const uint8_t* from = row + block * group;
            if (encoding == Encoding::Q8_0) copy_q8(to, group, from);
            if (encoding == Encoding::Q4_0) copy_q4(to, group, from);
            if (encoding == Encoding::Q4_1) copy_q4_min(to, group, from);
        }
        return;
    }
    if (is_same(matrix.kind, encoding)) {
        return encoding == Encoding::F32 ? copy_floats<uint32_t>(to, row) : copy_floats<uint16_t>(to, row);
    }
    read_floats(encoding, row, matrix.columns, values.data());
    if (!is_quantized(matrix.kind)) return pack_floats(to, values.data());
    for (int group = 0; group < matrix.num_groups(); ++group) {
        const float* from = values.data() + group * kGroup;
        if (matrix.kind == WeightKind::Q8) quantize_q8(to, group, from);
        if (matrix.kind == WeightKind::Q4Min) quantize_q4_min(to, group, from);
        if (matrix.kind == WeightKind::Q4) throw std::invalid_argument("4 bits without a minimum are only copied");
    }
}

}  // namespace

size_t row_bytes(Encoding encoding, int columns) {
    const size_t size = static_cast<size_t>(columns);
    switch (encoding) {
        case Encoding::F32: return size * 4;
        case Encoding::F16:
        case Encoding::BF16: return size * 2;
        case Encoding::Q8_0: return size / kGroup * 34;
        case Encoding::Q4_0: return size / kGroup * 18;
        case Encoding::Q4_1: return size / kGroup * 20;
    }
    return 0;
}

bool is_same(WeightKind kind, Encoding encoding) {
    return (kind == WeightKind::F32 && encoding == Encoding::F32) ||
           (kind == WeightKind::F16 && encoding == Encoding::F16) ||
           (kind == WeightKind::BF16 && encoding == Encoding::BF16) ||
           (kind == WeightKind::Q8 && encoding == Encoding::Q8_0) ||
           (kind == WeightKind::Q4 && encoding == Encoding::Q4_0) ||
           (kind == WeightKind::Q4Min && encoding == Encoding::Q4_1);
}

void pack_rows(Matrix& matrix, PanelPart part, int first_row, int num_rows, Encoding encoding, const uint8_t* rows) {
    const int rows_in_panel = part == PanelPart::Whole ? kPanelRows : kLanes;
    const int first_lane = part == PanelPart::Second ? kLanes : 0;
    std::vector<float> values(static_cast<size_t>(matrix.num_groups()) * kGroup);
    for (int i = 0; i < num_rows; ++i) {
        const int row = first_row + i;
        const Groups to{matrix, first_lane + row % rows_in_panel, matrix.panel(row / rows_in_panel)};
        pack_row(to, encoding, rows + row_bytes(encoding, matrix.columns) * i, values);
    }
}

void unpack_row(const Matrix& matrix, int row, float* out) {
    const int lane = row % kPanelRows;
    const uint8_t* panel = matrix.panel(row / kPanelRows);
    for (int column = 0; column < matrix.columns; ++column) {
        const size_t at_float = static_cast<size_t>(column) * kPanelRows + lane;
        if (matrix.kind == WeightKind::F32) {
            std::memcpy(out + column, panel + at_float * 4, 4);
        } else if (matrix.kind == WeightKind::F16) {
            out[column] = from_fp16(half_at(panel + at_float * 2));
        } else if (matrix.kind == WeightKind::BF16) {
            out[column] = from_bf16(half_at(panel + at_float * 2));
        } else {
            uint8_t* group = const_cast<uint8_t*>(panel) + unit_bytes(matrix.kind) * (column / kGroup);
            const float scale = from_fp16(half_at(group + lane * 2));
            const int at = column % kGroup;
            if (matrix.kind == WeightKind::Q8) {
                out[column] = scale * static_cast<float>(*(quad_at(group, matrix.kind, at / 4, lane) + at % 4) - 128);
                continue;
            }
            const uint8_t both = *(quad_at(group, matrix.kind, at % 16 / 4, lane) + at % 4);
            const int nibble = at < 16 ? both & 15 : both >> 4;
            const bool has_minimum = matrix.kind == WeightKind::Q4Min;
            const float minimum = has_minimum ? from_fp16(half_at(group + (kPanelRows + lane) * 2)) : 0.0f;
            out[column] = scale * static_cast<float>(has_minimum ? nibble : nibble - 8) + minimum;
        }
    }
}

}  // namespace nextword
