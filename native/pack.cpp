#include "pack.h"

#include <algorithm>
#include <cstring>

#include "half.h"
#include "pack_values.h"
#include "units.h"

namespace nextword {

namespace {

// ---- blocks, as they are ----

// All rows of a unit come before the next unit: it stays in the cache. False if a scale or minimum is infinite or NaN.
template <Encoding encoding>
bool pack_blocks(const PanelRows& to, const uint8_t* rows) {
    constexpr WeightKind kind = kind_of(encoding);
    const size_t stride = row_bytes(encoding, to.matrix.columns);
    UnitRow row;
    bool are_finite = true;
    for (int unit = 0; unit < to.matrix.num_units(); ++unit) {
        for (int i = 0; i < to.count; ++i) {
            read_block<encoding>(rows + stride * i + static_cast<size_t>(unit) * block_size(encoding).bytes, row);
            put_unit<kind>(to.panel + unit_bytes(kind) * unit, to.first + i, row);
            are_finite &= is_finite_fp16(row.scale);
            if (traits(kind).has_minimum) are_finite &= is_finite_fp16(row.minimum);
        }
    }
    return are_finite;
}

using PackBlocks = bool (*)(const PanelRows& to, const uint8_t* rows);

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
    if (columns % block_size(encoding).values != 0) return false;
    return kind == kind_of(encoding) || !is_quantized(kind) || kind == WeightKind::Q8 || kind == WeightKind::Q4Min;
}

bool pack_rows(Matrix& matrix, PanelPart part, int first_row, int num_rows, Encoding encoding, const uint8_t* rows,
               const Kernels& kernels) {
    const int panel_rows = rows_in_panel(part), first_in_panel = part == PanelPart::Second ? kLanes : 0;
    const PackBlocks pack_blocks = matrix.kind == kind_of(encoding) ? pack_blocks_of(encoding) : nullptr;
    bool is_in_range = true;
    for (int done = 0; done < num_rows;) {
        const int row = first_row + done, at = row % panel_rows, count = std::min(panel_rows - at, num_rows - done);
        const PanelRows to{matrix, matrix.panel(row / panel_rows), first_in_panel + at, count};
        const uint8_t* from = rows + row_bytes(encoding, matrix.columns) * done;
        if (pack_blocks != nullptr) {
            is_in_range &= pack_blocks(to, from);
        } else {
            is_in_range &= pack_values(kernels, to, encoding, from);
        }
        done += count;
    }
    return is_in_range;
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
