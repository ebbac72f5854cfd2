// Rows of weights as files hold them, into panels and back.

#ifndef NEXTWORD_PACK_H
#define NEXTWORD_PACK_H

#include <cstdint>

#include "blocks.h"
#include "kernels.h"
#include "tensor.h"

namespace nextword {

// Bytes of a row of `columns` values.
size_t row_bytes(Encoding encoding, int columns);

// True if rows of the encoding can be packed into a matrix of this kind, as they are or rounded. `columns` must be
// whole blocks.
bool can_pack(WeightKind kind, Encoding encoding, int columns);

// Which part of a panel the rows of a tensor take: all of it, or, where two tensors stand side by side, one half.
enum class PanelPart { Whole, First, Second };
constexpr int rows_in_panel(PanelPart part) { return part == PanelPart::Whole ? kPanelRows : kLanes; }

// Write rows first_row, first_row + 1, ... of a tensor; `rows` holds `num_rows` encoded rows one after the other.
// They must be such that can be packed, and begin with the rows of a panel or half a panel where they are rounded to
// integers. False if a finite number is beyond the range of the matrix's kind, if one that is not finite had to be
// rounded to an integer, or if a block's scale or minimum is not finite.
bool pack_rows(Matrix& matrix, PanelPart part, int first_row, int num_rows, Encoding encoding, const uint8_t* rows,
               const Kernels& kernels = portable_kernels());

// One row as floats.
void unpack_row(const Matrix& matrix, int row, float* out);

}  // namespace nextword

#endif
