// A block of tokens that go through a layer together: pieces of the chunks of a step, row by row.

#ifndef NEXTWORD_BLOCK_H
#define NEXTWORD_BLOCK_H

#include <cstdint>
#include <vector>

namespace nextword {

// Consecutive tokens of one sequence.
struct Piece {
    int64_t cache_id;
    int position;  // of its first token
    int row;       // of its first token in the block
    int count;
};

struct Block {
    int first_row = 0;  // of its tokens among those of the blocks that follow one another in a layer
    std::vector<Piece> pieces;
    std::vector<int32_t> token_ids;   // (num_tokens)
    std::vector<int> piece_of_row;    // (num_tokens)
    std::vector<int> adapter_of_row;  // (num_tokens), 0 for none
    std::vector<int> rows_of_logits;  // rows whose logits are wanted

    int num_tokens() const { return static_cast<int>(token_ids.size()); }
    const Piece& piece_of(int row) const { return pieces[piece_of_row[row]]; }
    int position_of(int row) const { return piece_of(row).position + row - piece_of(row).row; }
};

}  // namespace nextword

#endif
