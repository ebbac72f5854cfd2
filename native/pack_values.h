// Rows into panels by their values: numbers that stay as they are, and all that is rounded.

#ifndef NEXTWORD_PACK_VALUES_H
#define NEXTWORD_PACK_VALUES_H

#include <cstdint>

#include "blocks.h"
#include "kernels.h"
#include "tensor.h"

namespace nextword {

// Some rows of a panel of `matrix`, from number `first` on; a multiple of 16 where they are rounded to integers.
struct PanelRows {
    const Matrix& matrix;
    uint8_t* panel;
    int first, count;
};

// Write rows that follow one another in `rows`. False if a finite number is beyond the range of the
// matrix's kind, or one that is not finite had to be rounded to an integer.
bool pack_values(const Kernels& kernels, const PanelRows& to, Encoding encoding, const uint8_t* rows);

}  // namespace nextword

#endif
