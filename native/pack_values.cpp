#include "pack_values.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "half.h"
#include "pack.h"
#include "units.h"

namespace nextword {

namespace {

// Columns of 16 rows that are decoded at once: whole blocks, and few enough for the first cache.
constexpr int kColumnsAtOnce = 256;

// Numbers that stay as they are; a group of columns at a time, so that a line of the panel is written once.
template <class Number>
void transpose(const PanelRows& to, const uint8_t* rows) {
    const int columns = to.matrix.columns;
    for (int begin = 0; begin < columns; begin += kGroup) {
        const int end = std::min(begin + kGroup, columns);
        for (int row = 0; row < to.count; ++row) {
            const uint8_t* from = rows + static_cast<size_t>(row) * columns * sizeof(Number);
            uint8_t* target = to.panel + (to.first + row) * sizeof(Number);
            for (size_t column = begin; column < static_cast<size_t>(end); ++column) {
                std::memcpy(target + column * kPanelRows * sizeof(Number), from + column * sizeof(Number),
                            sizeof(Number));
            }
        }
    }
}

// The values of numbers, or of whole blocks.
template <Encoding encoding>
void read_values(const uint8_t* from, int count, float* out) {
    if (encoding == Encoding::F32) {
        std::memcpy(out, from, sizeof(float) * count);
    } else if (!is_block(encoding)) {
        uint16_t halves[kColumnsAtOnce];
        std::memcpy(halves, from, sizeof(uint16_t) * count);
        for (int i = 0; i < count; ++i) {
            out[i] = encoding == Encoding::F16 ? from_fp16(halves[i]) : from_bf16(halves[i]);
        }
    } else {
        UnitRow row;
        for (int at = 0; at < count; at += block_size(encoding).values, from += block_size(encoding).bytes) {
            read_block<encoding>(from, row);
            row_weights<kind_of(encoding)>(row, out + at);
        }
    }
}

using ReadValues = void (*)(const uint8_t* from, int count, float* out);

ReadValues reader_of(Encoding encoding) {
    switch (encoding) {
        case Encoding::F32: return read_values<Encoding::F32>;
        case Encoding::F16: return read_values<Encoding::F16>;
        case Encoding::BF16: return read_values<Encoding::BF16>;
        case Encoding::Q8_0: return read_values<Encoding::Q8_0>;
        case Encoding::Q4_0: return read_values<Encoding::Q4_0>;
        case Encoding::Q4_1: return read_values<Encoding::Q4_1>;
        case Encoding::Q5_0: return read_values<Encoding::Q5_0>;
        case Encoding::Q5_1: return read_values<Encoding::Q5_1>;
        case Encoding::IQ4_NL: return read_values<Encoding::IQ4_NL>;
        case Encoding::Q2_K: return read_values<Encoding::Q2_K>;
        case Encoding::Q3_K: return read_values<Encoding::Q3_K>;
        case Encoding::Q4_K: return read_values<Encoding::Q4_K>;
        case Encoding::Q5_K: return read_values<Encoding::Q5_K>;
        case Encoding::Q6_K: return read_values<Encoding::Q6_K>;
        case Encoding::IQ4_XS: return read_values<Encoding::IQ4_XS>;
    }
    return nullptr;
}

// Write one number as a kind of numbers holds it; false if it is beyond its range.
bool put_number(WeightKind kind, float value, uint8_t* to) {
    if (kind == WeightKind::F32) {
        std::memcpy(to, &value, sizeof value);
        return true;
    }
    const uint16_t half = kind == WeightKind::F16 ? to_fp16(value) : to_bf16(value);
    std::memcpy(to, &half, sizeof half);
    const float rounded = kind == WeightKind::F16 ? from_fp16(half) : from_bf16(half);
    return !std::isinf(rounded) || std::isinf(value);
}

// A group of columns of 16 rows, the first of which is number `first` of the panel.
struct Group {
    int first, rows, columns;
    alignas(64) float values[kGroup][kLanes];
};

bool put_group(WeightKind kind, const Group& group, uint8_t* unit) {
    const size_t unit_size = unit_bytes(kind), number_size = unit_size / kPanelRows;
    bool is_in_range = true;
    for (int column = 0; column < group.columns; ++column) {
        for (int row = 0; row < group.rows; ++row) {
            uint8_t* to = unit + unit_size * column + number_size * (group.first + row);
            is_in_range &= put_number(kind, group.values[column][row], to);
        }
    }
    return is_in_range;
}

// Round a group to integers; false if its scales are beyond the range of fp16.
bool quantize_group(const Kernels& kernels, WeightKind kind, const Group& group, uint8_t* unit) {
    kernels.quantize_weights(kind, group.values, group.first, unit);
    bool is_in_range = true;
    for (int part = 0; part <= traits(kind).has_minimum; ++part) {
        const uint8_t* halves = unit + (part * kPanelRows + group.first) * 2;
        for (int row = 0; row < group.rows; ++row) is_in_range &= is_finite_fp16(load_half(halves + row * 2));
    }
    return is_in_range;
}

// At most 16 rows. What is missing in the last group is 0.
bool pack_rounded(const Kernels& kernels, const PanelRows& to, Encoding encoding, const uint8_t* rows) {
    const Matrix& matrix = to.matrix;
    const size_t stride = row_bytes(encoding, matrix.columns);
    const ReadValues read = reader_of(encoding);
    alignas(64) float values[kLanes][kColumnsAtOnce] = {};
    Group group = {to.first, to.count, kGroup, {}};
    bool is_in_range = true;
    for (int begin = 0; begin < matrix.columns; begin += kColumnsAtOnce) {
        const int count = std::min(kColumnsAtOnce, matrix.columns - begin);
        for (int row = 0; row < to.count; ++row) {
            read(rows + stride * row + row_bytes(encoding, begin), count, values[row]);
            is_in_range &= !is_quantized(matrix.kind) || are_finite(values[row], count);
            std::fill(values[row] + count, values[row] + ceil_div(count, kGroup) * kGroup, 0.0f);
        }
        for (int at = 0; at < count; at += kGroup) {
            for (int column = 0; column < kGroup; ++column) {
                for (int row = 0; row < kLanes; ++row) group.values[column][row] = values[row][at + column];
            }
            group.columns = std::min(kGroup, count - at);
            if (is_quantized(matrix.kind)) {
                uint8_t* unit = to.panel + unit_bytes(matrix.kind) * ((begin + at) / kGroup);
                is_in_range &= quantize_group(kernels, matrix.kind, group, unit);
            } else {
                is_in_range &= put_group(matrix.kind, group, to.panel + unit_bytes(matrix.kind) * (begin + at));
            }
        }
    }
    return is_in_range;
}

}  // namespace

bool pack_values(const Kernels& kernels, const PanelRows& to, Encoding encoding, const uint8_t* rows) {
    if (to.matrix.kind == kind_of(encoding)) {
        encoding == Encoding::F32 ? transpose<uint32_t>(to, rows) : transpose<uint16_t>(to, rows);
        return true;
    }
    bool is_in_range = true;
    for (int done = 0; done < to.count; done += kLanes) {
        const PanelRows part = {to.matrix, to.panel, to.first + done, std::min(kLanes, to.count - done)};
        is_in_range &= pack_rounded(kernels, part, encoding, rows + row_bytes(encoding, to.matrix.columns) * done);
    }
    return is_in_range;
}

}  // namespace nextword
