#include "pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "half.h"
#include "units.h"

namespace nextword {

namespace {

// ---- numbers to integers ----

// The largest magnitude becomes 127.
void quantize_q8(const float* values, UnitRow& row) {
    float largest = 0.0f;
    for (int i = 0; i < kGroup; ++i) largest = std::max(largest, std::fabs(values[i]));
    const uint16_t scale = to_fp16(largest / 127.0f);
    const float inverse = from_fp16(scale) > 0.0f ? 1.0f / from_fp16(scale) : 0.0f;
    for (int i = 0; i < kGroup; ++i) {
        const float rounded = std::nearbyint(values[i] * inverse);
        row.integers[i] = static_cast<uint8_t>(static_cast<int>(std::clamp(rounded, -127.0f, 127.0f)) + 128);
    }
    row.scale = scale;
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
void quantize_q4_min(const float* values, UnitRow& row) {
    const auto [low, high] = std::minmax_element(values, values + kGroup);
    const float step = (*high - *low) / 64.0f;
    NibbleFit best = fit_nibbles(values, *low, *high);
    for (int below = 0; below <= 8; ++below) {
        for (int above = 0; above <= 8; ++above) {
            const NibbleFit fit = fit_nibbles(values, *low + step * below, *high - step * above);
            if (fit.error < best.error) best = fit;
        }
    }
    row.scale = best.scale;
    row.minimum = best.minimum;
    std::copy(best.values, best.values + kGroup, row.integers);
}

// ---- rows ----

// Where a row of a panel lies.
struct PanelRow {
    uint8_t* panel;
    int row;
};

void read_floats(Encoding encoding, const uint8_t* row, int columns, float* out) {
    for (int i = 0; i < columns; ++i) {
        if (encoding == Encoding::F32) std::memcpy(out + i, row + i * 4, 4);
        if (encoding == Encoding::F16) out[i] = from_fp16(load_half(row + i * 2));
        if (encoding == Encoding::BF16) out[i] = from_bf16(load_half(row + i * 2));
    }
}

void pack_floats(WeightKind kind, const PanelRow& to, const float* values, int columns) {
    for (int column = 0; column < columns; ++column) {
        uint8_t* unit = to.panel + unit_bytes(kind) * column;
        if (kind == WeightKind::F32) std::memcpy(unit + to.row * 4, values + column, 4);
        if (kind == WeightKind::F16) store_half(unit + to.row * 2, to_fp16(values[column]));
        if (kind == WeightKind::BF16) store_half(unit + to.row * 2, to_bf16(values[column]));
    }
}

// Values that stay as they are, one to each column.
template <class Value>
void copy_floats(const PanelRow& to, const uint8_t* row, int columns) {
    uint8_t* target = to.panel + to.row * sizeof(Value);
    for (int column = 0; column < columns; ++column) {
        std::memcpy(target + column * kPanelRows * sizeof(Value), row + column * sizeof(Value), sizeof(Value));
    }
}

template <WeightKind kind>
void quantize_row(const PanelRow& to, const float* values, int num_groups) {
    UnitRow row;
    for (int group = 0; group < num_groups; ++group) {
        const float* from = values + group * kGroup;
        if (kind == WeightKind::Q8) quantize_q8(from, row);
        if (kind == WeightKind::Q4Min) quantize_q4_min(from, row);
        put_unit<kind>(to.panel + unit_bytes(kind) * group, to.row, row);
    }
}

void pack_numbers(const Matrix& matrix, const PanelRow& to, Encoding encoding, const uint8_t* row,
                  std::vector<float>& values) {
    if (matrix.kind == kind_of(encoding)) {
        const bool is_half = encoding != Encoding::F32;
        return (is_half ? copy_floats<uint16_t> : copy_floats<uint32_t>)(to, row, matrix.columns);
    }
    read_floats(encoding, row, matrix.columns, values.data());
    switch (matrix.kind) {
        case WeightKind::Q8: return quantize_row<WeightKind::Q8>(to, values.data(), matrix.num_groups());
        case WeightKind::Q4Min: return quantize_row<WeightKind::Q4Min>(to, values.data(), matrix.num_groups());
        default: return pack_floats(matrix.kind, to, values.data(), matrix.columns);
    }
}

// Rows of blocks of one panel, from `row` on. All rows of a unit come before the next unit: it stays in the cache.
template <Encoding encoding>
void pack_blocks(const Matrix& matrix, const PanelRow& to, int num_rows, const uint8_t* rows) {
    constexpr WeightKind kind = kind_of(encoding);
    const size_t stride = row_bytes(encoding, matrix.columns);
    UnitRow row;
    for (int unit = 0; unit < matrix.num_units(); ++unit) {
        for (int i = 0; i < num_rows; ++i) {
            read_block<encoding>(rows + stride * i + static_cast<size_t>(unit) * block_size(encoding).bytes, row);
            put_unit<kind>(to.panel + unit_bytes(kind) * unit, to.row + i, row);
        }
    }
}

using PackBlocks = void (*)(const Matrix& matrix, const PanelRow& to, int num_rows, const uint8_t* rows);

PackBlocks pack_blocks_of(Encoding encoding) {
    switch (encoding) {
        case Encoding::Q8_0: return pack_blocks<Encoding::Q8_0>;
        case Encoding::Q4_0: return pack_blocks<Encoding::Q4_0>;
        case Encoding::Q4_1: return pack_blocks<Encoding::Q4_1>;
        case Encoding::Q5_0: return pack_blocks<Encoding::Q5_0>;
        case Encoding::Q5_1: return pack_blocks<Encoding::Q5_1>;
        case Encoding::IQ4_NL: return pack_blocks<Encoding::IQ4_NL>;
        case Encoding::Q2_K: return pack_blocks<Encoding::Q2_K>;
        case Encoding::Q3_K: return pack_blocks<Encoding::Q3_K>;
        case Encoding::Q4_K: return pack_blocks<Encoding::Q4_K>;
        case Encoding::Q5_K: return pack_blocks<Encoding::Q5_K>;
        case Encoding::Q6_K: return pack_blocks<Encoding::Q6_K>;
        case Encoding::IQ4_XS: return pack_blocks<Encoding::IQ4_XS>;
        case Encoding::F32:
        case Encoding::F16:
        case Encoding::BF16: break;
    }
    return nullptr;
}

// ---- and back ----

void unpack_floats(const Matrix& matrix, const uint8_t* panel, int row, float* out) {
    for (int column = 0; column < matrix.columns; ++column) {
        const size_t at = static_cast<size_t>(column) * kPanelRows + row;
        if (matrix.kind == WeightKind::F32) std::memcpy(out + column, panel + at * 4, 4);
        if (matrix.kind == WeightKind::F16) out[column] = from_fp16(load_half(panel + at * 2));
        if (matrix.kind == WeightKind::BF16) out[column] = from_bf16(load_half(panel + at * 2));
    }
}

template <WeightKind kind>
void unpack_integers(const Matrix& matrix, const uint8_t* panel, int at, float* out) {
    UnitRow row;
    float values[unit_columns(kind)];
    for (int column = 0; column < matrix.columns; column += unit_columns(kind), panel += unit_bytes(kind)) {
        get_unit<kind>(panel, at, row);
        row_weights<kind>(row, values);
        std::copy_n(values, std::min(unit_columns(kind), matrix.columns - column), out + column);
    }
}

}  // namespace

size_t row_bytes(Encoding encoding, int columns) {
    const BlockSize size = block_size(encoding);
    return static_cast<size_t>(columns) / size.values * size.bytes;
}

bool can_pack(WeightKind kind, Encoding encoding, int columns) {
    if (is_block(encoding)) return kind == kind_of(encoding) && columns % block_size(encoding).values == 0;
    return !is_quantized(kind) || kind == WeightKind::Q8 || kind == WeightKind::Q4Min;
}

void pack_rows(Matrix& matrix, PanelPart part, int first_row, int num_rows, Encoding encoding, const uint8_t* rows) {
    const int rows_in_panel = part == PanelPart::Whole ? kPanelRows : kLanes;
    const int first_in_panel = part == PanelPart::Second ? kLanes : 0;
    const PackBlocks pack_blocks = pack_blocks_of(encoding);
    std::vector<float> values(static_cast<size_t>(matrix.num_groups()) * kGroup);
    for (int i = 0; i < num_rows;) {
        const int row = first_row + i, at = row % rows_in_panel;
        const int count = std::min(rows_in_panel - at, num_rows - i);
        const PanelRow to{matrix.panel(row / rows_in_panel), first_in_panel + at};
        if (pack_blocks != nullptr) {
            pack_blocks(matrix, to, count, rows);
        } else {
            for (int j = 0; j < count; ++j) {
                const uint8_t* from = rows + row_bytes(encoding, matrix.columns) * j;
                pack_numbers(matrix, {to.panel, to.row + j}, encoding, from, values);
            }
        }
        rows += row_bytes(encoding, matrix.columns) * count;
        i += count;
    }
}

void unpack_row(const Matrix& matrix, int row, float* out) {
    const uint8_t* panel = matrix.panel(row / kPanelRows);
    const int at = row % kPanelRows;
    switch (matrix.kind) {
        case WeightKind::F32:
        case WeightKind::F16:
        case WeightKind::BF16: return unpack_floats(matrix, panel, at, out);
        case WeightKind::Q8: return unpack_integers<WeightKind::Q8>(matrix, panel, at, out);
        case WeightKind::Q4: return unpack_integers<WeightKind::Q4>(matrix, panel, at, out);
        case WeightKind::Q4Min: return unpack_integers<WeightKind::Q4Min>(matrix, panel, at, out);
        case WeightKind::Q5: return unpack_integers<WeightKind::Q5>(matrix, panel, at, out);
        case WeightKind::Q5Min: return unpack_integers<WeightKind::Q5Min>(matrix, panel, at, out);
        case WeightKind::IQ4: return unpack_integers<WeightKind::IQ4>(matrix, panel, at, out);
        case WeightKind::Q2K: return unpack_integers<WeightKind::Q2K>(matrix, panel, at, out);
        case WeightKind::Q3K: return unpack_integers<WeightKind::Q3K>(matrix, panel, at, out);
        case WeightKind::Q4K: return unpack_integers<WeightKind::Q4K>(matrix, panel, at, out);
        case WeightKind::Q5K: return unpack_integers<WeightKind::Q5K>(matrix, panel, at, out);
        case WeightKind::Q6K: return unpack_integers<WeightKind::Q6K>(matrix, panel, at, out);
        case WeightKind::IQ4XS: return unpack_integers<WeightKind::IQ4XS>(matrix, panel, at, out);
    }
}

}  // namespace nextword
