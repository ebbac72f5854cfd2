// Attention of a block of tokens over the KV cache, layer by layer.
//
// The work is cut into units: some queries of one key-value head with all the segments of positions they attend to.
// The segments of a sequence with few tokens are units of their own, whose online-softmax states are merged in their
// order.

#ifndef NEXTWORD_ATTENTION_H
#define NEXTWORD_ATTENTION_H

#include <vector>

#include "adapters.h"
#include "aligned.h"
#include "block.h"
#include "kernels.h"
#include "kv_cache.h"
#include "products.h"
#include "rope.h"
#include "shape.h"
#include "threads.h"
#include "weights.h"

namespace nextword {

class Attention {
public:
    // All are kept by reference.
    Attention(const Shape& shape, const Kernels& kernels, KVCache& cache, ThreadPool& threads,
              const Adapters& adapters);

    // Call before the first layer: allocates the rotations of all blocks' tokens; then for each row of each block, in
    // any order and on any thread.
    void begin(int num_tokens) { rotations_.resize(num_tokens); }
    void find_rotation(const Block& block, int row);

    // Store the keys and values of the block's tokens in the cache, and attend: `normed` (num_tokens, hidden_size) in,
    // `attended` (num_tokens, num_heads * head_dim) out, before the output projection, with its int8 form if that one
    // reads it.
    void attend(int layer, const Layer& weights, const Block& block, const Rows& normed, Rows& attended);

private:
    using Vector = AlignedVector<float>;

    struct Unit {
        int piece, kv_head, token, num_tokens, first_segment, last_segment;
        int split;           // number of the tokens and head whose segments are units of their own, or -1
        size_t first_float;  // of its state in states_, if it is such a unit
        bool is_split() const { return split >= 0; }
    };
    // The queries of a unit; for 8-bit keys they are integers, too, whose second parts lie apart.
    struct Queries {
        Rows rows;
        AlignedVector<int8_t> second_quants;
    };
    // Scratch memory of a thread for a unit.
    struct Scratch {
        Queries queries;
        Vector scores, states;
        std::vector<int32_t> bounds;
    };

    void project(const Layer& weights, const Rows& normed, const Block& block);
    void store_keys_and_values(int layer, const Layer& weights, const Block& block);
    void clip(float* heads, int size) const;
    void prepare_heads(int layer, const Layer& weights, int row, float* query, float* key) const;
    void normalize_heads(const Norm& norm, float* heads, int size) const;

    void plan_units(int layer, const Block& block);
    void plan_unit(int layer, const Piece& piece, Unit unit);
    void gather_queries(const Block& block, const Unit& unit, Queries& queries) const;
    // `next` is the unit that the thread probably does after this one, or null.
    void attend_unit(int layer, const Block& block, const Unit& unit, const Unit* next);
    AttentionSegment begin_segments(const Unit& unit, const Queries& queries, Scratch& scratch) const;
    void set_segment(int layer, const Block& block, const Unit& unit, int index, AttentionSegment& segment,
                     int32_t* bounds) const;
    void set_next_pages(int layer, const Block& block, const Unit& unit, const Unit* next, int index,
                        AttentionSegment& segment) const;
    void find_pages(int layer, const Piece& piece, const Unit& unit, int segment,
                    const uint8_t* (&found)[kSegmentPages]) const;
    void merge_split(const Block& block, size_t first_unit);
    void write_attended(const SoftmaxState& state, const Piece& piece, const Unit& unit);

    SoftmaxState state_at(float* memory, int num_rows) const;
    size_t state_size(int num_rows) const { return static_cast<size_t>(num_rows) * (2 + cache_.page().value_stride()); }

    const Shape& shape_;
    const Kernels& kernels_;
    KVCache& cache_;
    ThreadPool& threads_;
    const Adapters& adapters_;
    RotationTables rotations_;

    // State of the current layer.
    Vector queries_, keys_, values_;
    Rows* attended_ = nullptr;
    std::vector<Unit> units_;
    std::vector<size_t> first_of_split_;  // the first unit of each split
    std::vector<Queries> split_queries_;
    Vector states_;  // of the units of splits
};

}  // namespace nextword

#endif
