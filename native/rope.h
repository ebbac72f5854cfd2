// Rotary position embedding: cosines and sines of a block's positions, and the rotation of heads by them.

#ifndef NEXTWORD_ROPE_H
#define NEXTWORD_ROPE_H

#include <vector>

#include "shape.h"

namespace nextword {

class RotationTables {
public:
    explicit RotationTables(const Shape& shape);

    void resize(int num_tokens);
    // Fill the row of each rope. `is_long`: by LongRoPE's frequencies for long sequences.
    void fill(int row, int position, bool is_long);
    // Rotate the pairs (i, i + half of the rotated part) of each head by the row's angles; none if `rope` is -1.
    void rotate(float* heads, int num_heads, int rope, int row) const;

private:
    const std::vector<Rope>& ropes_;
    int head_dim_;
    std::vector<std::vector<float>> cosines_, sines_;  // for each rope (num_tokens, num_pairs)
};

}  // namespace nextword

#endif
