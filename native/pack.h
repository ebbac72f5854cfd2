// Rows of weights as files hold them, into panels and back.

#ifndef NEXTWORD_PACK_H
#define NEXTWORD_PACK_H

#include <cstdint>

#include "tensor.h"

namespace nextword {

// The format of the bytes of a row. GGUF's blocks of 32 values: Q8_0 is fp16 scale, 32 x int8; Q4_0 fp16 scale,
// 16 bytes of nibbles; Q4_1 fp16 scale, fp16 minimum, 16 bytes of nibbles.
enum class Encoding { F32, F16, BF16, Q8_0, Q4_0, Q4_1 };

// Bytes of a row of `columns` values.
size_t row_bytes(Encoding encoding, int columns);

// True if the kind of matrix holds the values of the encoding exactly. Others are converted through floats.
bool is_same(WeightKind kind, Encoding encoding);

// Which part of a panel the rows of a tensor take: all of it, or, where two tensors stand side by side, one half.
enum class PanelPart { Whole, First, Second };

// Write rows first_row, first_row + 1, ... of a tensor; `rows` holds `num_rows` encoded rows one after the other.
// Throws std::invalid_argument for a quantised encoding that the matrix is not made for.
void pack_rows(Matrix& matrix, PanelPart part, int first_row, int num_rows, Encoding encoding, const uint8_t* rows);

// One row as floats.
void unpack_row(const Matrix& matrix, int row, float* out);

}  // namespace nextword

#endif
